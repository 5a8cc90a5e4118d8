# Programs for integration tests.
FLOOD := tests/integration/flood/flood
TEST_PROGRAMS += $(FLOOD)
$(FLOOD)_SOURCES := $(wildcard tests/integration/flood/*.c)
$(FLOOD)_LINK := -lz

# The long form of the outage test: the database is unreachable for 60 s while 200 participants per second
# join or leave. It takes about 4 minutes.
.PHONY: outage
outage: test-packages programs
	@OUTAGE_SECONDS=60 OUTAGE_RATE=200 tests/integration/outage
.PHONY: flood
flood: $(OUT)/$(FLOOD)

# Kills the control plane 100 times; the step `operating` does that ten times.
.PHONY: audit-kills
audit-kills: programs
	@RINGCAST_KILLS=100 tests/integration/operating audit.test.mjs

# The long form of the step `redirect`, and twenty changes of the address of two browsers.
.PHONY: redirect
redirect: programs page
	@REDIRECT_SECONDS=30 tests/integration/redirect
	@REBIND_ROUNDS=20 tests/browser/run rebind.test.mjs

# Chromium changes between layers each second, for 60 s with each codec.
.PHONY: flips
flips: programs page
	@RINGCAST_LAYER_SECONDS=60 RINGCAST_LAYER_CODECS="VP8 H264 VP9 AV1" tests/browser/run layers.test.mjs

# The long form of the step `repair`: 30 s of each call, judged by what a call shall be like on a bad network.
# It wants a machine that does nothing else.
.PHONY: repair
repair: programs page
	@RINGCAST_REPAIR_SECONDS=30 tests/browser/run repair.test.mjs

# Thousands of Socket.IO clients. `make test-sockets` and `make test-hostile` are the long forms of
# the steps `sockets` and `hostile`.
SOCKET_LOAD := tests/integration/socket_load/generator
TEST_TOOLS += $(SOCKET_LOAD)
$(SOCKET_LOAD)_SOURCES := $(SOCKET_LOAD).c
$(SOCKET_LOAD)_USES := src
.PHONY: socket-load test-sockets test-hostile account-flood
socket-load: $(OUT)/$(SOCKET_LOAD)
test-sockets: programs socket-load
	@RINGCAST_SOCKETS=5000 RINGCAST_JOINS=500 RINGCAST_JOIN_SECONDS=60 tests/integration/sockets
test-hostile: programs
	@RINGCAST_HALF_OPEN=100000 RINGCAST_HOSTILE_ROUNDS=20 tests/integration/hostile
# One account floods the server from one address for a minute. It compares times, so it wants a machine that
# does nothing else.
account-flood: programs
	@RINGCAST_FLOOD_SECONDS=60 tests/integration/hostile account_flood.test.mjs

# Redis is killed, stopped and full for a minute each, while 200 participants per second join or
# leave.
.PHONY: redis-drill
redis-drill: programs
	@RINGCAST_DRILL_SECONDS=60 RINGCAST_DRILL_RATE=200 TEST_TIMEOUT=600 tests/integration/redis \
	  --test-name-pattern='killed, stopped' redis.test.mjs
