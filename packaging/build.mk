# make install: programs, page, configuration and systemd units. DESTDIR, PREFIX, SYSCONFDIR say where.
# An existing configuration is not changed. The paths in the units begin with PREFIX.
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
DATADIR ?= $(PREFIX)/share/ringcast
SYSCONFDIR ?= /etc/ringcast
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d

UNITS := ringcast-dataplane.service ringcast-controlplane.service
INSTALL_PATHS = sed -e 's|@BINDIR@|$(BINDIR)|g' -e 's|@DATADIR@|$(DATADIR)|g' \
  -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g'

.PHONY: install uninstall
install: programs page
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(DATADIR)/page $(DESTDIR)$(SYSCONFDIR) \
	  $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSUSERSDIR) $(DESTDIR)$(TMPFILESDIR)
	install -m 0755 $(addprefix $(OUT)/,$(PROGRAMS)) $(DESTDIR)$(BINDIR)
	rm -f $(DESTDIR)$(DATADIR)/page/*
	install -m 0644 build/page/* $(DESTDIR)$(DATADIR)/page
	install -m 0644 LICENSE $(DESTDIR)$(DATADIR)
	test -e $(DESTDIR)$(SYSCONFDIR)/ringcast.conf || \
	  install -m 0644 configs/ringcast.conf $(DESTDIR)$(SYSCONFDIR)/ringcast.conf
	for unit in $(UNITS); do \
	  $(INSTALL_PATHS) packaging/systemd/$$unit >$(DESTDIR)$(UNITDIR)/$$unit || exit 1; \
	  chmod 0644 $(DESTDIR)$(UNITDIR)/$$unit; \
	done
	install -m 0644 packaging/systemd/ringcast.sysusers $(DESTDIR)$(SYSUSERSDIR)/ringcast.conf
	install -m 0644 packaging/systemd/ringcast.tmpfiles $(DESTDIR)$(TMPFILESDIR)/ringcast.conf

# Does not remove the configuration and the data.
uninstall:
	rm -f $(addprefix $(DESTDIR)$(BINDIR)/,$(PROGRAMS)) $(addprefix $(DESTDIR)$(UNITDIR)/,$(UNITS)) \
	  $(DESTDIR)$(SYSUSERSDIR)/ringcast.conf $(DESTDIR)$(TMPFILESDIR)/ringcast.conf
	rm -rf $(DESTDIR)$(DATADIR)
