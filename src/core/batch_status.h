/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The status machine of a batch, as clients see it (names and transitions are
 * those of OpenAI's service).
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
 *   cancelling    cancelled     cancelled_at
 *
 * completed, failed, expired and cancelled are terminal: they never change.
 *
 * The index (src/index/prelude.lua) takes two steps that are not in the table.
 * finish() goes from any status that is not terminal to the end that final.json
 * names, since the index may be behind the disk.  So a batch that expired while
 * it was being validated, and whose input is bad, goes from finalizing to
 * failed.  reopen() goes from finalizing back to in_progress when a seal turns
 * out to be void; clients go on seeing finalizing.
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
