/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * final.json, written and read.  In a thread.
 */

#ifndef _NGX_HTTP_BATCH_TEXT_H_INCLUDED_
#define _NGX_HTTP_BATCH_TEXT_H_INCLUDED_

#include "ngx_http_batch.h"
#include "ngx_http_batch_cancel.h"
#include "ngx_http_batch_object.h"

#define NGX_HTTP_BATCH_MANIFEST_MAX  (4 * 1024 * 1024)    /* bytes */
#define NGX_HTTP_BATCH_FINAL_MAX     (64 * 1024 * 1024)   /* bytes */

/* what ngx_http_batch_object.h says final.json holds */
typedef struct {
    const char                    *id;
    batch_status_e                 status;
    int64_t                        ended_at;      /* the status' own stamp */
    int64_t                        in_progress_at;       /* 0 = null */
    int64_t                        finalizing_at;
    int64_t                        cancelling_at;
    uint64_t                       total;
    uint64_t                       completed;
    uint64_t                       failed;
    ngx_str_t                      model;         /* "" = null */
    batch_usage_t                  usage;
    const ngx_http_batch_file_t   *output;        /* NULL = null */
    const ngx_http_batch_file_t   *error;
    const batch_text_t            *errors;        /* JSON objects with commas
                                                     between, NULL = null */
} ngx_http_batch_final_t;

void ngx_http_batch_final_encode(batch_text_t *t,
    const ngx_http_batch_final_t *final);

/* text of the batch's final.json -> its status, and its own stamp (seconds);
 * NGX_ERROR if it is none, or its counts cannot be */
ngx_int_t ngx_http_batch_final_status(const ngx_str_t *text, const char *id,
    batch_status_e *status, int64_t *ended_at);

/*
 * Publishes the manifests of the files that final.json names, where they are
 * missing and the file was not deleted: they are derived from it.  NGX_ERROR:
 * not all of them; to be done again.
 */
ngx_int_t ngx_http_batch_final_settle(const char *batch_id,
    const ngx_str_t *text, ngx_log_t *log);

#endif
