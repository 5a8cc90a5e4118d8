# Checks besides the tests: layers, format, the other compiler, sanitizers, fuzzing.
#   make layers          checks the source tree against tests/layers.txt
#   make check-format    checks that clang-format would change nothing
#   make check-clang     builds everything with clang, also the unit tests
#   make unit-asan       runs the unit tests with AddressSanitizer and UBSan
#   make unit-tsan       runs the unit tests with ThreadSanitizer
#   make row-mutations   10^8 random changes of the shared tables while two workers forward
#   make sanitized       runs all tests with both (tests/run-sanitized)
#   make fuzz-build      builds every tests/fuzz/X_fuzz.c
#   make fuzz-brief      runs each of them for 10 s
#   make fuzz            runs each of them for FUZZ_SECONDS

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
# gcc's ThreadSanitizer does not work with the strong address randomisation of new kernels.
unit-tsan:
	@TEST_TIMEOUT=900 TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1" \
	  setarch -R $(MAKE) --no-print-directory VARIANT=tsan unit
# Threat H1: as many random changes of the shared tables as the threat table asks for.
ROW_MUTATIONS ?= 100000000
.PHONY: row-mutations
row-mutations:
	@RINGCAST_ROW_MUTATIONS=$(ROW_MUTATIONS) TEST_TIMEOUT=7200 \
	  $(MAKE) --no-print-directory VARIANT=asan unit-hostile_rows
sanitized: test-packages
	@tests/run-sanitized

# ---- fuzzing with libFuzzer; the first line of each file names the archive that it uses ----

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
