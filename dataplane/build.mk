# The data plane: one binary, three processes (supervisor, forwarder, handshaker).
LIBRARIES += dataplane
dataplane_SOURCES := $(filter-out dataplane/main.c,$(wildcard dataplane/*.c dataplane/*/*.c \
  dataplane/*/*/*.c))
dataplane_LINK := -lIPSec_MB -luring -lssl -lcrypto -lseccomp

PROGRAMS += ringcast-dataplane
ringcast-dataplane_SOURCES := dataplane/main.c
ringcast-dataplane_USES := dataplane kmod-free src
