# Programs that only integration tests run.
FLOOD := tests/integration/flood/flood
TEST_PROGRAMS += $(FLOOD)
$(FLOOD)_SOURCES := $(wildcard tests/integration/flood/*.c)
$(FLOOD)_LINK := -lz
# The outage drill in full: 60 s away, 200 joins and leaves per second; about 4 minutes.
.PHONY: outage
outage: test-packages programs
	@OUTAGE_SECONDS=60 OUTAGE_RATE=200 tests/integration/outage
.PHONY: flood
flood: $(OUT)/$(FLOOD)
