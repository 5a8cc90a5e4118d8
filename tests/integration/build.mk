# Programs that only integration tests run.
FLOOD := tests/integration/flood/flood
TEST_PROGRAMS += $(FLOOD)
$(FLOOD)_SOURCES := $(wildcard tests/integration/flood/*.c)
$(FLOOD)_LINK := -lz
.PHONY: flood
flood: $(OUT)/$(FLOOD)

# The long form of what tests/integration/operating does ten times.
.PHONY: audit-kills
audit-kills: programs
	@RINGCAST_KILLS=100 tests/integration/operating audit.test.mjs
