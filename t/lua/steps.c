/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Prints the status machine of src/core, for scripts.t: each status with its
 * time and whether it is terminal, then each legal step.
 */

#include "batch_status.h"

#include <stdio.h>


int
main(void)
{
    int  from, to;

    for (from = 0; from < BATCH_STATUS_N; from++) {
        printf("status %s %s %d\n", batch_status_name(from),
               batch_status_stamp(from), batch_status_terminal(from));
    }

    for (from = 0; from < BATCH_STATUS_N; from++) {
        for (to = 0; to < BATCH_STATUS_N; to++) {
            if (batch_status_legal(from, to)) {
                printf("step %s %s\n", batch_status_name(from),
                       batch_status_name(to));
            }
        }
    }

    return 0;
}
