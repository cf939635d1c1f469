/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Time, in one place so that tests can inject it: they replace batch_clock.
 * Microseconds of the wall clock since the epoch (CLOCK_REALTIME).
 */

#ifndef _BATCH_CLOCK_H_INCLUDED_
#define _BATCH_CLOCK_H_INCLUDED_

#include "batch_core.h"

typedef int64_t (*batch_clock_pt)(void);

extern batch_clock_pt  batch_clock;

#define batch_clock_us()   batch_clock()
#define batch_clock_sec()  (batch_clock() / 1000000)

/* Now in seconds, but never before sec: clocks are set back, and those of Redis
 * and of other nodes differ, but a later event must not get an earlier time. */
int64_t batch_clock_since(int64_t sec);

#endif /* _BATCH_CLOCK_H_INCLUDED_ */
