# The control plane with an allocator that fails when a test says so (VARIANT=asan only).
FAILING := tests/integration/allocations/ringcast-controlplane
ifeq ($(VARIANT),asan)
TEST_TOOLS += $(FAILING)
$(FAILING)_SOURCES := $(ringcast-controlplane_SOURCES) tests/integration/allocations/failing.c
$(FAILING)_USES := controlplane src
$(FAILING)_LINK := -lseccomp
$(OUT)/tests/integration/allocations/failing.o: CFLAGS += -fno-sanitize=all -fno-builtin
endif

# Fails every k-th allocation, k = 1 … 2000, and each of the first 20000 once; the step `allocations` takes a sample.
.PHONY: failing-controlplane allocations
failing-controlplane: $(OUT)/$(FAILING)
allocations: test-packages programs
	@RINGCAST_ALLOCATIONS_ALL=1 TEST_TIMEOUT=14400 tests/integration/allocations/run
