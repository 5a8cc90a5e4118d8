# What both planes share, ringcast-run (starts and supervises both planes), and ringcastctl.
LIBRARIES += src
src_SOURCES := $(wildcard src/*.c)

PROGRAMS += ringcastctl ringcast-run
ringcastctl_SOURCES := $(wildcard src/ctl/*.c)
ringcastctl_USES := src
ringcast-run_SOURCES := $(wildcard src/run/*.c)
ringcast-run_USES := src

# The sample configuration and the list of settings, generated from the rows of src/settings.h.
.PHONY: settings
settings: $(OUT)/ringcastctl
	@$(OUT)/ringcastctl settings --sample > configs/ringcast.conf
	@$(OUT)/ringcastctl settings --markdown > configs/settings.md
