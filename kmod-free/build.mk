# Host preparation and checks; the XDP program and the AF_XDP port join here.
LIBRARIES += kmod-free
kmod-free_SOURCES := $(wildcard kmod-free/*.c)
