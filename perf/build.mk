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

# make bench          figures of this machine in less than three minutes: a list of steps, one after the
#                     other, each leaves JSON in build/<variant>/bench; the last makes report.html of it
# make regress        instructions counted against perf/baseline.json;  perf-baseline accepts them
BENCH_OUT := $(OUT)/bench
BENCH_LOAD := --nice -10 -- --seconds 5
BENCH_STEPS += bench-micro bench-io bench-load bench-report
.PHONY: bench $(BENCH_STEPS) bench-tsan regress perf-baseline
# A step that fails spoils none of the others, but the end. BENCH_LOCK=FILE: each step holds this lock, on a
# machine where others measure, too.
bench: programs
	@status=0; for step in $(BENCH_STEPS); do $(if $(BENCH_LOCK),flock $(BENCH_LOCK)) \
	  $(MAKE) --no-print-directory -s $$step || { echo "bench: $$step failed"; status=1; }; done; exit $$status
bench-micro: $(OUT)/ringcast-bench
	@mkdir -p $(BENCH_OUT)
	@perf/record $(BENCH_OUT)/micro.json $(OUT)/ringcast-bench --json {} short
bench-io: $(OUT)/ringcast-bench-io
	@mkdir -p $(BENCH_OUT)
	@echo "I/O backends beside bare calls"
	@perf/record $(BENCH_OUT)/io.json $(OUT)/ringcast-bench-io --rounds 5 --datagrams 2000 --json
# Status 3: the generator was the bottleneck; the report says so.
bench-load: programs
	@mkdir -p $(BENCH_OUT)
	@for what in "video-1-to-N 100 --rounds 2" rooms-10x10 "audio-20-to-50 --rounds 2"; do echo "$$what"; \
	  RINGCAST_BUILD=$(OUT) perf/load/run $$what --json $(BENCH_OUT)/load-$${what%% *}.json $(BENCH_LOAD); \
	  case $$? in 0|3) ;; *) failed=1;; esac; done; exit $${failed:-0}
bench-report:
	@perf/report --out $(BENCH_OUT)/report.html $(BENCH_OUT)
# The same room on one worker and on two, watched by ThreadSanitizer (see unit-tsan).
bench-tsan:
	@$(MAKE) --no-print-directory VARIANT=tsan build/tsan/ringcast-bench
	@TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1" setarch -R timeout 120 \
	  build/tsan/ringcast-bench room-over-workers --fanout 20 --publishers 2 --rounds 2 --units 20000
regress:
	@perf/regress
perf-baseline:
	@perf/regress --accept

# What a datagram costs through each I/O backend, beside bare system calls.
PROGRAMS += ringcast-bench-io
ringcast-bench-io_SOURCES := $(wildcard perf/io/*.c)
ringcast-bench-io_USES := dataplane src

# What the measuring tools share.
LIBRARIES += perf
perf_SOURCES := $(wildcard perf/*.c)

# The load generator. All but main.c is an archive, so that its parts can be tested alone.
LIBRARIES += load
load_SOURCES := $(filter-out perf/load/main.c,$(wildcard perf/load/*.c))
load_LINK := -lwslay -lcurl -lcjson -lssl -lcrypto -lm
PROGRAMS += ringcast-load
ringcast-load_SOURCES := perf/load/main.c
ringcast-load_USES := load perf dataplane src
