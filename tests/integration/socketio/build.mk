# The web part of the control plane alone; it sends back what it receives (tests/integration/socketio/run).
ECHO_SERVER := tests/integration/socketio/echo_server
TEST_TOOLS += $(ECHO_SERVER)
$(ECHO_SERVER)_SOURCES := $(ECHO_SERVER).c
$(ECHO_SERVER)_USES := controlplane src
.PHONY: echo-server
echo-server: $(OUT)/$(ECHO_SERVER)
