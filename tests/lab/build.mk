# The lab: whole workers on a virtual clock, with virtual publishers, receivers and networks.
#   make lab        all scenarios, in seconds; LAB_SEED=n runs each with this seed only
#   make lab-soak   all scenarios with LAB_SOAK seeds, one after the other
LAB_COMMON := $(filter-out %_test.c,$(sort $(wildcard tests/lab/*.c)))
LAB_PROGRAMS := $(patsubst %.c,%,$(sort $(wildcard tests/lab/*_test.c)))
define LAB_VARIABLES
$(1)_SOURCES := $(1).c $$(LAB_COMMON)
$(1)_USES := network dataplane kmod-free src
$(1)_LINK := -lcmocka -lsrtp2
endef
$(foreach t,$(LAB_PROGRAMS),$(eval $(call LAB_VARIABLES,$(t))))
TEST_TOOLS += $(LAB_PROGRAMS)

.PHONY: lab lab-soak
lab: $(addprefix $(OUT)/,$(LAB_PROGRAMS))
	@tests/run-programs $^
LAB_SOAK ?= 100
lab-soak: $(addprefix $(OUT)/,$(LAB_PROGRAMS))
	@failed=0; for seed in $$(seq $(LAB_SOAK)); do \
		echo "# seed $$seed"; LAB_SEED=$$seed tests/run-programs $^ || failed=$$((failed + 1)); done; \
	echo "$$failed of $(LAB_SOAK) seeds failed"; [ $$failed -eq 0 ]
