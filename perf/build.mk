# The probe: a WebRTC client in C that checks an installation from anywhere.
perf_CFLAGS := $(shell pkg-config --cflags nice glib-2.0 2>/dev/null)
PROGRAMS += ringcast-probe
ringcast-probe_SOURCES := $(wildcard perf/probe/*.c)
ringcast-probe_USES := src
ringcast-probe_LINK := $(shell pkg-config --libs nice glib-2.0 gobject-2.0 2>/dev/null) -lsrtp2 -lssl -lcrypto \
  -lcurl -lcjson -lm

# The microbenchmarks: a real worker on the replay backend.
PROGRAMS += ringcast-bench
ringcast-bench_SOURCES := $(wildcard perf/micro/*.c)
ringcast-bench_USES := dataplane kmod-free src

# make bench          figures of this machine: a list of steps, one after the other
# make regress        instructions counted against perf/baseline.json;  perf-baseline accepts them
BENCH_STEPS += bench-micro
.PHONY: bench $(BENCH_STEPS) regress perf-baseline
bench:
	@for step in $(BENCH_STEPS); do $(MAKE) --no-print-directory -s $$step || exit 1; done
bench-micro: $(OUT)/ringcast-bench
	@$(OUT)/ringcast-bench --json $(OUT)/bench-micro.json short
regress:
	@perf/regress
perf-baseline:
	@perf/regress --accept

# What a datagram costs through each I/O backend, beside bare system calls.
PROGRAMS += ringcast-bench-io
ringcast-bench-io_SOURCES := $(wildcard perf/io/*.c)
ringcast-bench-io_USES := dataplane src

# The load generator. All but main.c is an archive, so that its parts can be tested alone.
LIBRARIES += load
load_SOURCES := $(filter-out perf/load/main.c,$(wildcard perf/load/*.c))
load_LINK := -lwslay -lcurl -lcjson -lssl -lcrypto -lm
PROGRAMS += ringcast-load
ringcast-load_SOURCES := perf/load/main.c
ringcast-load_USES := load dataplane src
