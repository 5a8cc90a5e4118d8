# The control plane: HTTP, Socket.IO, accounts, rooms, negotiation.
LIBRARIES += controlplane
controlplane_SOURCES := $(filter-out controlplane/main.c,$(wildcard controlplane/*.c \
  controlplane/web/*.c controlplane/people/*.c controlplane/rooms/*.c))
controlplane_LINK := -lwebsockets -luv -lcjson -ljwt -largon2 -lsqlite3 -lssl -lcrypto -lcrypt -lm

PROGRAMS += ringcast-controlplane
ringcast-controlplane_SOURCES := controlplane/main.c
ringcast-controlplane_USES := controlplane src
