# Negotiation as a filter; tests/integration/ortc/run compares it with mediasoup.
ORTC_TOOL := tests/integration/ortc/ortc_tool
TEST_TOOLS += $(ORTC_TOOL)
$(ORTC_TOOL)_SOURCES := $(ORTC_TOOL).c
$(ORTC_TOOL)_USES := controlplane src
.PHONY: ortc-tool
ortc-tool: $(OUT)/$(ORTC_TOOL)
