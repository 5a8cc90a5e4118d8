/* The version of this build, such as "1.2.0" or a commit. */
#ifndef RINGCAST_VERSION_H
#define RINGCAST_VERSION_H

extern const char ringcast_version[];

#endif
