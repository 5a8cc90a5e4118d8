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

# Redis killed, stopped and full for a minute each, while 200 people a second come and go.
.PHONY: redis-drill
redis-drill: programs
	@RINGCAST_DRILL_SECONDS=60 RINGCAST_DRILL_RATE=200 TEST_TIMEOUT=600 tests/integration/redis \
	  --test-name-pattern='killed, stopped' redis.test.mjs
