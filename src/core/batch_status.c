/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The status machine: a row of legal successors for each status.
 */

#include "batch_status.h"

#include <string.h>


#define BATCH_TO(s)  (1u << (s))


typedef struct {
    const char  *name;
    const char  *stamp;
    unsigned     next;           /* BATCH_TO() of each legal successor */
} batch_state_row_t;


static const batch_state_row_t  batch_states[BATCH_STATUS_N] = {

    /* BATCH_VALIDATING */
    { "validating", "created_at",
      BATCH_TO(BATCH_IN_PROGRESS) | BATCH_TO(BATCH_FAILED)
      | BATCH_TO(BATCH_CANCELLING) | BATCH_TO(BATCH_FINALIZING) },

    /* BATCH_IN_PROGRESS */
    { "in_progress", "in_progress_at",
      BATCH_TO(BATCH_FINALIZING) | BATCH_TO(BATCH_CANCELLING) },

    /* BATCH_FINALIZING */
    { "finalizing", "finalizing_at",
      BATCH_TO(BATCH_COMPLETED) | BATCH_TO(BATCH_EXPIRED)
      | BATCH_TO(BATCH_CANCELLING) },

    /* BATCH_CANCELLING */
    { "cancelling", "cancelling_at", BATCH_TO(BATCH_CANCELLED) },

    { "completed", "completed_at", 0 },
    { "failed", "failed_at", 0 },
    { "expired", "expired_at", 0 },
    { "cancelled", "cancelled_at", 0 }
};


/* an enum that was read from somewhere may hold anything */

static int
batch_status_known(batch_status_e s)
{
    return (unsigned) s < BATCH_STATUS_N;
}


const char *
batch_status_name(batch_status_e s)
{
    return batch_status_known(s) ? batch_states[s].name : "unknown";
}


int
batch_status_parse(const unsigned char *s, size_t len)
{
    int  i;

    for (i = 0; i < BATCH_STATUS_N; i++) {
        if (strlen(batch_states[i].name) == len
            && memcmp(batch_states[i].name, s, len) == 0)
        {
            return i;
        }
    }

    return -1;
}


int
batch_status_terminal(batch_status_e s)
{
    return batch_status_known(s) && batch_states[s].next == 0;
}


int
batch_status_legal(batch_status_e from, batch_status_e to)
{
    if (!batch_status_known(from) || !batch_status_known(to)) {
        return 0;
    }

    return (batch_states[from].next & BATCH_TO(to)) != 0;
}


const char *
batch_status_stamp(batch_status_e s)
{
    return batch_status_known(s) ? batch_states[s].stamp : "unknown";
}
