# Ringcast. On a fresh Debian 12 two commands are enough:
#   make run    installs the packages it needs, builds, starts with default settings, prints the URL
#   make test   installs the packages it needs, runs all tests; last line: N passed, N failed
# Other targets: all (default), unit, unit-NAME, lab, check-format, layers, settings, fuzz, sanitized, bench,
#   regress, install, clean
# Variables: VARIANT=release (default), asan or tsan; CC=gcc (default) or clang

VARIANT ?= release
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
OUT := build/$(VARIANT)$(if $(findstring clang,$(CC)),-clang)

# libssl3: with an older one, a DTLS peer can make the server hold 600 KiB (dtls_hostile_test).
BUILD_PACKAGES := gcc make pkg-config libc6-dev linux-libc-dev liburing-dev libipsec-mb-dev \
  "libssl3>=3.0.22" "libssl-dev>=3.0.22" libseccomp-dev libuv1-dev libwslay-dev libcjson-dev \
  libargon2-dev libidn2-dev libsqlite3-dev libpq-dev libhiredis-dev libnice-dev libsrtp2-dev libglib2.0-dev \
  libcurl4-openssl-dev nodejs
TEST_PACKAGES := clang libclang-rt-14-dev clang-format libcmocka-dev chromium firefox-esr nftables \
  iproute2 valgrind python3 procps curl sqlite3 postgresql-15 zlib1g-dev util-linux redis-tools \
  coturn openssl

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wstrict-prototypes -Wvla \
  -Wno-unused-parameter -Wno-missing-field-initializers
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=2
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=all
CFLAGS_tsan := -O1 -g -fsanitize=thread
CFLAGS_fuzz := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
VARIANT_CFLAGS := $(CFLAGS_$(VARIANT))
VERSION := $(shell cat packaging/VERSION 2>/dev/null || git describe --always --dirty 2>/dev/null || echo 0)
override CFLAGS += -std=gnu11 -I. $(WARNINGS) $(VARIANT_CFLAGS) -fstack-protector-strong -fPIE -pthread \
  -fno-strict-aliasing -MMD -MP
override LDFLAGS += $(filter -fsanitize=%,$(VARIANT_CFLAGS)) -pie -pthread -Wl,-z,relro,-z,now

.PHONY: all
all: programs

# build.mk in each folder says what the folder builds. It adds names to LIBRARIES and PROGRAMS, and sets for
# each: name_SOURCES, name_USES (archives of this tree), name_LINK (-l flags).
LIBRARIES :=
PROGRAMS :=
include src/build.mk dataplane/build.mk kmod-free/build.mk controlplane/build.mk perf/build.mk \
  tests/build.mk packaging/build.mk

define LIBRARY_RULE
$(OUT)/lib$(1).a: $$(patsubst %.c,$(OUT)/%.o,$$($(1)_SOURCES))
	@rm -f $$@
	@ar rcs $$@ $$^
endef
# Links a program from its own sources and the archives in its name_USES.
define PROGRAM_RULE
$(OUT)/$(1): $$(patsubst %.c,$(OUT)/%.o,$$($(1)_SOURCES)) $$(foreach u,$$($(1)_USES),$(OUT)/lib$$(u).a)
	@mkdir -p $$(@D)
	@echo "  LINK $$@"
	@$(CC) $(LDFLAGS) -o $$@ $$^ $$(foreach u,$$($(1)_USES),$$($$(u)_LINK)) $$($(1)_LINK)
endef
$(foreach l,$(LIBRARIES),$(eval $(call LIBRARY_RULE,$(l))))
$(foreach p,$(PROGRAMS) $(TEST_PROGRAMS) $(TEST_TOOLS),$(eval $(call PROGRAM_RULE,$(p))))

$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(CC) $(CFLAGS) $($(firstword $(subst /, ,$<))_CFLAGS) -c -o $@ $<

$(OUT)/src/version.o: CFLAGS += -DRINGCAST_VERSION='"$(VERSION)"'

.PHONY: programs libraries clean
programs: $(addprefix $(OUT)/,$(PROGRAMS))
libraries: $(foreach l,$(LIBRARIES),$(OUT)/lib$(l).a)
clean:
	rm -rf build

# Starts both planes with default settings; a variable in the environment changes a setting.
.PHONY: run test
run: packages
	@$(MAKE) --no-print-directory -s -j2 programs page
	@RINGCAST_PAGE="$${RINGCAST_PAGE:-$(CURDIR)/build/page}" exec packaging/run $(OUT)/ringcast-run

test: test-packages
	@tests/run-all

.PHONY: packages test-packages
packages:
	@tests/need-packages $(BUILD_PACKAGES)
	@packaging/make-user
test-packages:
	@tests/need-packages $(BUILD_PACKAGES) $(TEST_PACKAGES)
	@packaging/make-user

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
