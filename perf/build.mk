# ringcast-probe: a WebRTC client in C that checks an installation.
perf_CFLAGS := $(shell pkg-config --cflags nice glib-2.0 2>/dev/null)
PROGRAMS += ringcast-probe
ringcast-probe_SOURCES := $(wildcard perf/probe/*.c)
ringcast-probe_USES := src
ringcast-probe_LINK := $(shell pkg-config --libs nice glib-2.0 gobject-2.0 2>/dev/null) -lsrtp2 -lssl -lcrypto \
  -lcurl -lcjson -lm

# ringcast-bench: the cost of a worker, measured on the replay backend.
PROGRAMS += ringcast-bench
ringcast-bench_SOURCES := $(wildcard perf/micro/*.c)
ringcast-bench_USES := dataplane kmod-free src

# make bench          measures this machine in less than three minutes. Each step writes JSON into
#                     build/<variant>/bench; the last step makes report.html of it.
# make regress        compares instruction counts with perf/baseline.json
# make perf-baseline  writes the present counts into perf/baseline.json
BENCH_OUT := $(OUT)/bench
BENCH_LOAD := --nice -10 -- --seconds 5
BENCH_STEPS += bench-micro bench-io bench-load bench-report
.PHONY: bench $(BENCH_STEPS) bench-tsan regress perf-baseline
# If a step fails, the others still run, and make fails at the end. BENCH_LOCK=FILE: each step holds this
# lock, for machines on which others measure, too.
bench: programs
	@status=0; for step in $(BENCH_STEPS); do $(if $(BENCH_LOCK),flock $(BENCH_LOCK)) \
	  $(MAKE) --no-print-directory -s $$step || { echo "bench: $$step failed"; status=1; }; done; exit $$status
bench-micro: $(OUT)/ringcast-bench
	@mkdir -p $(BENCH_OUT)
	@perf/record $(BENCH_OUT)/micro.json $(OUT)/ringcast-bench --json {} short
bench-io: $(OUT)/ringcast-bench-io
	@mkdir -p $(BENCH_OUT)
	@echo "I/O backends compared with plain system calls"
	@perf/record $(BENCH_OUT)/io.json $(OUT)/ringcast-bench-io --rounds 5 --datagrams 2000 --json
# Status 3 means that the generator was the bottleneck. That is no error; the report marks it.
bench-load: programs
	@mkdir -p $(BENCH_OUT)
	@for what in "video-1-to-N 100 --rounds 2" rooms-10x10 "audio-20-to-50 --rounds 2"; do echo "$$what"; \
	  RINGCAST_BUILD=$(OUT) perf/load/run $$what --json $(BENCH_OUT)/load-$${what%% *}.json $(BENCH_LOAD); \
	  case $$? in 0|3) ;; *) failed=1;; esac; done; exit $${failed:-0}
bench-report:
	@perf/report --out $(BENCH_OUT)/report.html $(BENCH_OUT)
# One room on one worker and on two, checked by ThreadSanitizer (see unit-tsan).
bench-tsan:
	@$(MAKE) --no-print-directory VARIANT=tsan build/tsan/ringcast-bench
	@TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1" setarch -R timeout 120 \
	  build/tsan/ringcast-bench room-over-workers --fanout 20 --publishers 2 --rounds 2 --units 20000
# What losses cost: CPU time per forwarded packet of 1 to 400 at 0, 1 and 5 % loss. At most three minutes.
.PHONY: loss-cost
loss-cost: programs
	@RINGCAST_BUILD=$(OUT) perf/load/loss-cost $(LOSS_COST)
regress:
	@perf/regress
perf-baseline:
	@perf/regress --accept

# ringcast-bench-io: the cost of a datagram through each I/O backend and through plain system calls.
PROGRAMS += ringcast-bench-io
ringcast-bench-io_SOURCES := $(wildcard perf/io/*.c)
ringcast-bench-io_USES := dataplane src

# What the measuring tools share.
LIBRARIES += perf
perf_SOURCES := $(wildcard perf/*.c)

# ringcast-load, the load generator. All but main.c is an archive, so that unit tests can use it.
LIBRARIES += load
load_SOURCES := $(filter-out perf/load/main.c,$(wildcard perf/load/*.c))
load_LINK := -lwslay -lcurl -lcjson -lssl -lcrypto -lm
PROGRAMS += ringcast-load
ringcast-load_SOURCES := perf/load/main.c
ringcast-load_USES := load perf dataplane src

# ringcast-relay: a bad network between clients and a server. Its links are an archive, so that other tools
# and tests can use them.
LIBRARIES += network
network_SOURCES := perf/network/link.c
PROGRAMS += ringcast-relay
ringcast-relay_SOURCES := perf/network/relay.c
ringcast-relay_USES := network
