# The control plane: HTTP, Socket.IO, accounts, rooms, negotiation.
LIBRARIES += controlplane
controlplane_SOURCES := $(wildcard controlplane/web/*.c controlplane/people/*.c controlplane/live/*.c \
  controlplane/ortc/*.c controlplane/tables/*.c controlplane/rooms/*.c)
controlplane_LINK := -lhiredis -lwslay -luv -lcjson -largon2 -lsqlite3 -lidn2 -lpq -lssl -lcrypto -lcrypt -lm

PROGRAMS += ringcast-controlplane
ringcast-controlplane_SOURCES := $(wildcard controlplane/*.c)
ringcast-controlplane_USES := controlplane src
ringcast-controlplane_LINK := -lseccomp

# The demo page. The first build downloads its packages; later builds need no network.
PAGE_FILES := $(wildcard controlplane/page/src/*) controlplane/page/build.mjs
.PHONY: page
page: build/page/index.html
controlplane/page/node_modules/.package-lock.json: controlplane/page/package-lock.json
	@cd controlplane/page && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
build/page/index.html: controlplane/page/node_modules/.package-lock.json $(PAGE_FILES)
	@echo "  PAGE build/page"
	@cd controlplane/page && node build.mjs ../../build/page
