# The probe: a WebRTC client in C that checks an installation from anywhere.
perf_CFLAGS := $(shell pkg-config --cflags nice glib-2.0 2>/dev/null)
PROGRAMS += ringcast-probe
ringcast-probe_SOURCES := $(wildcard perf/probe/*.c)
ringcast-probe_USES := src
ringcast-probe_LINK := $(shell pkg-config --libs nice glib-2.0 gobject-2.0 2>/dev/null) -lsrtp2 -lssl -lcrypto \
  -lcurl -lcjson -lm

# What a datagram costs through each I/O backend, beside bare system calls.
PROGRAMS += ringcast-bench-io
ringcast-bench-io_SOURCES := $(wildcard perf/io/*.c)
ringcast-bench-io_USES := dataplane src
