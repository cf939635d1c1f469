/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The status machine of a batch (names and transitions as OpenAI's service
 * shows them).
 *
 *   from          to            sets              when
 *   -             validating    created_at        POST /v1/batches
 *   validating    in_progress   in_progress_at    the input is good
 *   validating    failed        failed_at         the input is bad
 *   validating    cancelling    cancelling_at     cancel
 *   validating    finalizing    finalizing_at     expires_at passed
 *   in_progress   finalizing    finalizing_at     all lines ended, or expiry
 *   in_progress   cancelling    cancelling_at     cancel
 *   finalizing    completed     completed_at
 *   finalizing    expired       expired_at        finalizing because of expiry
 *   finalizing    cancelling    cancelling_at     cancel, before publishing
 *   finalizing    in_progress   -                 never
 *   cancelling    cancelled     cancelled_at
 *
 * completed, failed, expired and cancelled are terminal: they never change.
 */

#ifndef _BATCH_STATUS_H_INCLUDED_
#define _BATCH_STATUS_H_INCLUDED_

#include "batch_core.h"

typedef enum {
    BATCH_VALIDATING = 0,
    BATCH_IN_PROGRESS,
    BATCH_FINALIZING,
    BATCH_CANCELLING,
    BATCH_COMPLETED,
    BATCH_FAILED,
    BATCH_EXPIRED,
    BATCH_CANCELLED,
    BATCH_STATUS_N
} batch_status_e;

const char *batch_status_name(batch_status_e s);

/* the status of that name, or -1 */
int batch_status_parse(const unsigned char *s, size_t len);

int batch_status_terminal(batch_status_e s);

/* 1 if the transition is in the table above, which is the one source of them */
int batch_status_legal(batch_status_e from, batch_status_e to);

/* the name of the timestamp that entering s sets: "in_progress_at", ...;
 * "created_at" for validating */
const char *batch_status_stamp(batch_status_e s);

#endif /* _BATCH_STATUS_H_INCLUDED_ */
