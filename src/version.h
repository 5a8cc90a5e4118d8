/* Which build this is. */
#ifndef RINGCAST_VERSION_H
#define RINGCAST_VERSION_H

extern const char ringcast_version[];

#endif
