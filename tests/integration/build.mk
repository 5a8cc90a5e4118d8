# Programs that only integration tests run.
FLOOD := tests/integration/flood/flood
TEST_PROGRAMS += $(FLOOD)
$(FLOOD)_SOURCES := $(wildcard tests/integration/flood/*.c)
$(FLOOD)_LINK := -lz
.PHONY: flood
flood: $(OUT)/$(FLOOD)
