/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * cancel.json: whether a batch was cancelled is decided by the process that
 * links that name first, for a client's cancel or to publish another end next:
 *
 *   {"v":1,"cancelling_at":<seconds>}     cancelled: it ends as nothing else
 *   {"v":1,"closed":true}                 too late: it ends, and not by cancel
 *   {...,"status":"completed",...}        the same: another name of what is, or
 *                                         was to be, final.json
 *
 * So a cancel that was answered 200 is never followed by completed, failed or
 * expired.  For tasks only.
 */

#ifndef _NGX_HTTP_BATCH_CANCEL_H_INCLUDED_
#define _NGX_HTTP_BATCH_CANCEL_H_INCLUDED_

#include "ngx_http_batch.h"

/* Cancels.  NGX_OK (*at becomes the first cancel's time), NGX_DECLINED (closed,
 * or it has ended), NGX_ERROR (ngx_errno is kept). */
ngx_int_t ngx_http_batch_cancel_mark(const char *batch_id, int64_t *at,
    ngx_log_t *log);

/* Closes.  NGX_OK, NGX_DECLINED (cancelled at *at), NGX_ERROR. */
ngx_int_t ngx_http_batch_cancel_close(const char *batch_id, int64_t *at,
    ngx_log_t *log);

/* NGX_OK (cancelled at *at), NGX_DECLINED (not, or closed; *at = 0),
 * NGX_ERROR. */
ngx_int_t ngx_http_batch_cancel_read(const char *batch_id, int64_t *at,
    ngx_log_t *log);

#endif
