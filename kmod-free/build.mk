# Checks of the host. Kernel bypass without kernel modules will be added here.
LIBRARIES += kmod-free
kmod-free_SOURCES := $(wildcard kmod-free/*.c)
