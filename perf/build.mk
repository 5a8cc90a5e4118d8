# The probe: a WebRTC client in C that checks an installation from anywhere.
perf_CFLAGS := $(shell pkg-config --cflags nice glib-2.0 2>/dev/null)
PROGRAMS += ringcast-probe
ringcast-probe_SOURCES := $(wildcard perf/probe/*.c)
ringcast-probe_USES := src
ringcast-probe_LINK := $(shell pkg-config --libs nice glib-2.0 gobject-2.0 2>/dev/null) -lsrtp2 -lssl -lcrypto \
  -lcurl -lcjson -lm

# The load generator. All but main.c is an archive, so that its parts can be tested alone.
LIBRARIES += load
load_SOURCES := $(filter-out perf/load/main.c,$(wildcard perf/load/*.c))
load_LINK := -lwslay -lcurl -lcjson -lssl -lcrypto -lm
PROGRAMS += ringcast-load
ringcast-load_SOURCES := perf/load/main.c
ringcast-load_USES := load dataplane src
