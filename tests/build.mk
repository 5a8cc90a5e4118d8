# Unit tests: tests/unit/<folder>/…/X_test.c is one program, linked with that folder's archive and
# what that folder may use (cmocka). A test may include the .c it tests.
UNIT_TESTS := $(sort $(shell find tests/unit -name '*_test.c'))
TEST_PROGRAMS := $(UNIT_TESTS:%.c=%)
UNIT_USES_src := src
UNIT_USES_dataplane := dataplane kmod-free src
UNIT_USES_kmod-free := kmod-free src
UNIT_USES_controlplane := controlplane src
UNIT_USES_perf := load perf dataplane src
define UNIT_TEST_VARIABLES
$(1)_SOURCES := $(1).c
$(1)_USES := $$(UNIT_USES_$(word 3,$(subst /, ,$(1))))
$(1)_LINK := -lcmocka -lsrtp2
endef
$(foreach t,$(TEST_PROGRAMS),$(eval $(call UNIT_TEST_VARIABLES,$(t))))
tests/unit/dataplane/engines/stun_test_LINK += -lnice
tests/unit/dataplane/engines/ice_test_LINK += -lnice

# make unit        every unit test;  make unit-NAME  those whose path contains NAME
.PHONY: unit
unit: $(addprefix $(OUT)/,$(TEST_PROGRAMS))
	@tests/run-programs $^
unit-%:
	@$(MAKE) --no-print-directory $(addprefix $(OUT)/,$(foreach t,$(TEST_PROGRAMS),$(if $(findstring $*,$(t)),$(t))))
	@tests/run-programs $(addprefix $(OUT)/,$(foreach t,$(TEST_PROGRAMS),$(if $(findstring $*,$(t)),$(t))))

include tests/integration/build.mk
include tests/integration/socketio/build.mk
include tests/integration/ortc/build.mk

include tests/checks.mk
