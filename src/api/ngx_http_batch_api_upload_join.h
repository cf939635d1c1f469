/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The parts of an upload become one file: what a complete call does on disk.
 */

#ifndef _NGX_HTTP_BATCH_API_UPLOAD_JOIN_H_INCLUDED_
#define _NGX_HTTP_BATCH_API_UPLOAD_JOIN_H_INCLUDED_

#include "ngx_http_batch_api_upload.h"
#include "batch_check.h"
#include "batch_head.h"


typedef enum {
    NGX_HTTP_BATCH_COMPLETE_OK = 0,
    NGX_HTTP_BATCH_COMPLETE_ENDED,
    NGX_HTTP_BATCH_COMPLETE_NO_PART,
    NGX_HTTP_BATCH_COMPLETE_BYTES,
    NGX_HTTP_BATCH_COMPLETE_MD5,
    NGX_HTTP_BATCH_COMPLETE_JSONL,
    NGX_HTTP_BATCH_COMPLETE_LINE
} ngx_http_batch_api_complete_e;


/* from the op's pool */

typedef struct {
    ngx_http_batch_upload_state_t   st;             /* first: ..._load() */
    ngx_uint_t                      n;
    char                          (*parts)[BATCH_ID_LEN];
    char                            digest[41];     /* of their ids */
    ngx_str_t                       md5;            /* hex; len 0: none */
    u_char                          hex[32];        /* that of the parts */
    batch_head_t                    head;           /* why it is not JSONL */
    batch_check_t                   check;          /* of each line ... */
    ngx_uint_t                      lines;          /* ... if wanted */

    ngx_http_batch_api_complete_e   verdict;
    ngx_uint_t                      bad;            /* the part that is not */
    off_t                           sum;
    ngx_uint_t                      put;            /* the index is to know */
    ngx_msec_t                      pause;          /* another call joins */
} ngx_http_batch_api_complete_t;


/*
 * In a task, of a pending upload: joins the parts and ends it.  op->rc NGX_OK:
 * end.json is published, or there is a verdict, or the upload has ended
 * otherwise; NGX_DECLINED: it has, or it is gone; NGX_AGAIN: another call joins
 * its parts; NGX_ERROR with op->err, NGX_ABORT.
 */
void ngx_http_batch_api_upload_join(ngx_http_batch_op_t *op, ngx_log_t *log);


#endif /* _NGX_HTTP_BATCH_API_UPLOAD_JOIN_H_INCLUDED_ */
