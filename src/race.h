/* Race points: named places in the shared-memory code where a test can stop one thread and let
 * another run, so that it can force any order of the two. A test defines RACE_POINT before it
 * includes the code under test (tests/unit/src/schedule.h). In every other build a race point is
 * no code at all. */
#ifndef RINGCAST_RACE_H
#define RINGCAST_RACE_H

#ifndef RACE_POINT
#define RACE_POINT(name) ((void)0)
#endif

#endif
