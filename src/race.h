/* Named points inside the shared-memory protocol where a test may force an interleaving: it defines
 * RACE_POINT before it includes the code under test. In every other build they are nothing. */
#ifndef RINGCAST_RACE_H
#define RINGCAST_RACE_H

#ifndef RACE_POINT
#define RACE_POINT(name) ((void)0)
#endif

#endif
