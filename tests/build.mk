# Unit tests, with cmocka. Each tests/unit/FOLDER/…/X_test.c is one program. It is linked with the
# archive of that folder and the archives that the folder may use. A test may include the .c file
# that it tests.
UNIT_TESTS := $(sort $(shell find tests/unit -name '*_test.c'))
TEST_PROGRAMS := $(UNIT_TESTS:%.c=%)
UNIT_USES_src := src
UNIT_USES_dataplane := dataplane kmod-free src
UNIT_USES_kmod-free := kmod-free src
UNIT_USES_controlplane := controlplane src
UNIT_USES_perf := load network perf dataplane src
define UNIT_TEST_VARIABLES
$(1)_SOURCES := $(1).c
$(1)_USES := $$(UNIT_USES_$(word 3,$(subst /, ,$(1))))
$(1)_LINK := -lcmocka -lsrtp2
endef
$(foreach t,$(TEST_PROGRAMS),$(eval $(call UNIT_TEST_VARIABLES,$(t))))
tests/unit/dataplane/engines/stun_test_LINK += -lnice
tests/unit/dataplane/engines/ice_test_LINK += -lnice
tests/unit/controlplane/sandbox_test_LINK += -lseccomp

# make unit runs all unit tests; make unit-NAME runs those whose path contains NAME.
.PHONY: unit
unit: $(addprefix $(OUT)/,$(TEST_PROGRAMS))
	@tests/run-programs $^
unit-%:
	@$(MAKE) --no-print-directory $(addprefix $(OUT)/,$(foreach t,$(TEST_PROGRAMS),$(if $(findstring $*,$(t)),$(t))))
	@tests/run-programs $(addprefix $(OUT)/,$(foreach t,$(TEST_PROGRAMS),$(if $(findstring $*,$(t)),$(t))))

# The long form of keystream_test: 10^6 packets.
.PHONY: keystream
keystream: $(OUT)/tests/unit/dataplane/forwarder/keystream_test
	$< 1000000

include tests/lab/build.mk
include tests/integration/build.mk
include tests/integration/socketio/build.mk
include tests/integration/ortc/build.mk
include tests/integration/allocations/build.mk

include tests/checks.mk
