/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Time.
 */

#include "batch_clock.h"

#include <time.h>


static int64_t
batch_clock_real(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_REALTIME, &ts);

    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


batch_clock_pt  batch_clock = batch_clock_real;


int64_t
batch_clock_since(int64_t sec)
{
    int64_t  now;

    now = batch_clock_sec();

    return now > sec ? now : sec;
}
