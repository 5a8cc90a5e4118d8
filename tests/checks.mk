# Checks beside the tests: layers, format, the other compiler, sanitizers, fuzzing.
#   make layers          the tree against tests/layers.txt
#   make check-format    clang-format has nothing to say
#   make check-clang     everything, unit tests included, with clang
#   make unit-asan       unit tests with AddressSanitizer and UBSan;  unit-tsan: ThreadSanitizer
#   make sanitized       these and every other suite, with both (tests/run-sanitized)
#   make fuzz-build      every tests/fuzz/X_fuzz.c;  fuzz-brief: each 10 s;  fuzz: FUZZ_SECONDS each

comma := ,
empty :=
space := $(empty) $(empty)

.PHONY: layers check-format check-clang unit-asan unit-tsan sanitized
layers: libraries
	@tests/layers-check --link $(OUT) "$(CC) $(LDFLAGS)" \
	  $(foreach l,$(LIBRARIES),$(l)=$(subst $(space),$(comma),$(strip $($(l)_LINK))))

check-format:
	@tests/format-check

check-clang:
	@$(MAKE) --no-print-directory CC=clang programs test-programs

.PHONY: test-programs
test-programs: $(addprefix $(OUT)/,$(TEST_PROGRAMS))

unit-asan:
	@$(MAKE) --no-print-directory VARIANT=asan unit
# gcc's ThreadSanitizer cannot live with as much address randomisation as new kernels have.
unit-tsan:
	@TEST_TIMEOUT=300 TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1" \
	  setarch -R $(MAKE) --no-print-directory VARIANT=tsan unit
sanitized: test-packages
	@tests/run-sanitized

# ---- fuzzing: clang's libFuzzer; "uses:" in the first line of a target names its archive ----

FUZZ_SECONDS ?= 600
FUZZ_PROGRAMS := $(patsubst %.c,%,$(wildcard tests/fuzz/*_fuzz.c))
fuzz_archive = $(strip $(shell sed -n '1s/.*uses: *\([a-z-]*\).*/\1/p' $(1).c))
define FUZZ_VARIABLES
$(1)_SOURCES := $(1).c
$(1)_USES := $$(if $$(filter src,$$(call fuzz_archive,$(1))),src,$$(call fuzz_archive,$(1)) src)
$(1)_LINK := -fsanitize=fuzzer
endef
ifeq ($(VARIANT),fuzz)
$(foreach f,$(FUZZ_PROGRAMS),$(eval $(call FUZZ_VARIABLES,$(f))))
TEST_TOOLS += $(FUZZ_PROGRAMS)
endif

.PHONY: fuzz-build fuzz-programs fuzz-brief fuzz
fuzz-programs: $(addprefix $(OUT)/,$(FUZZ_PROGRAMS))
fuzz-build:
	@$(MAKE) --no-print-directory VARIANT=fuzz CC=clang fuzz-programs
fuzz-brief: fuzz-build
	@tests/fuzz-run 10 $(addprefix build/fuzz-clang/,$(FUZZ_PROGRAMS))
fuzz: fuzz-build
	@tests/fuzz-run $(FUZZ_SECONDS) $(addprefix build/fuzz-clang/,$(FUZZ_PROGRAMS))
