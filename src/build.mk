# What both planes share, the launcher that stands in for a service manager, and ringcastctl.
LIBRARIES += src
src_SOURCES := $(wildcard src/*.c)

PROGRAMS += ringcastctl ringcast-run
ringcastctl_SOURCES := $(wildcard src/ctl/*.c)
ringcastctl_USES := src
ringcast-run_SOURCES := $(wildcard src/run/*.c)
ringcast-run_USES := src
