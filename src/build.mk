# What both planes share, the launcher that stands in for a service manager, and ringcastctl.
LIBRARIES += src
src_SOURCES := $(wildcard src/*.c)

PROGRAMS += ringcastctl ringcast-run
ringcastctl_SOURCES := $(wildcard src/ctl/*.c)
ringcastctl_USES := src
ringcast-run_SOURCES := $(wildcard src/run/*.c)
ringcast-run_USES := src

# What is generated from the table of settings: the sample configuration and the README's table.
.PHONY: settings
settings: $(OUT)/ringcastctl
	@$(OUT)/ringcastctl settings --sample > configs/ringcast.conf
	@$(OUT)/ringcastctl settings --markdown > $(OUT)/settings.md
	@sed -i -e '/<!-- settings -->/,/<!-- end of settings -->/{//!d}' \
	  -e '/<!-- settings -->/r $(OUT)/settings.md' README.md
