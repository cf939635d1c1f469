/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * batch_body_rate: a client that sends its body too slowly is answered 408,
 * which ends the op.
 */

#ifndef _NGX_HTTP_BATCH_PACE_H_INCLUDED_
#define _NGX_HTTP_BATCH_PACE_H_INCLUDED_

#include "ngx_http_batch_api.h"


typedef struct {
    ngx_event_t                 timer;
    ngx_msec_t                  since;         /* not while paused */
    uint64_t                    used;          /* ms before that */
    uint64_t                    allowed;       /* ms: used must stay below */
    uint64_t                    rest;          /* of what bytes bought, in
                                                  ms * rate */
    off_t                       bytes;         /* that came so far */
    unsigned                    paused:1;      /* the disk is waited for */
} ngx_http_batch_pace_t;


void ngx_http_batch_pace_start(ngx_http_batch_op_t *op);
void ngx_http_batch_pace_stop(ngx_http_batch_op_t *op);
void ngx_http_batch_pace_pause(ngx_http_batch_op_t *op);
void ngx_http_batch_pace_resume(ngx_http_batch_op_t *op);
/* so many bytes have come */
void ngx_http_batch_pace_took(ngx_http_batch_op_t *op, size_t n);


#endif /* _NGX_HTTP_BATCH_PACE_H_INCLUDED_ */
