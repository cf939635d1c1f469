/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * final.json, written and read.  In a thread.
 */

#ifndef _NGX_HTTP_BATCH_FINAL_H_INCLUDED_
#define _NGX_HTTP_BATCH_FINAL_H_INCLUDED_

#include "ngx_http_batch.h"
#include "ngx_http_batch_cancel.h"
#include "ngx_http_batch_object.h"

#define NGX_HTTP_BATCH_FINAL_MAX    (64 * 1024 * 1024)  /* bytes; older modules
                                                           had no limit */
#define NGX_HTTP_BATCH_FINAL_BRIEF  4096                /* bytes of JSON */

/*
 * What ngx_http_batch_object.h says final.json holds.  The strings of one that
 * was read point into root.
 */
typedef struct {
    char                           id[BATCH_ID_LEN];
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
    ngx_http_batch_file_t          files[2];      /* output, error; id "" =
                                                     null */

    /* to be written only */
    const batch_text_t            *errors;        /* JSON objects with commas
                                                     between, NULL = null */

    /* as it was read */
    ngx_str_t                      text;
    json_t                        *root;

    /* what the index keeps: the text, but of many errors only the first, in
     * NGX_HTTP_BATCH_FINAL_BRIEF bytes */
    ngx_str_t                      brief;
} ngx_http_batch_final_t;

void ngx_http_batch_final_encode(batch_text_t *t,
    const ngx_http_batch_final_t *final);

/*
 * The batch's final.json as it is on disk.  NGX_OK: to be freed with
 * ngx_http_batch_final_free(); NGX_DECLINED: there is none; NGX_ERROR: it
 * cannot be read or used, which was logged.
 */
ngx_int_t ngx_http_batch_final_read(ngx_http_batch_final_t *final,
    const char *id, ngx_log_t *log);

/* the same of a text that was just published; it becomes the struct's, from
 * malloc(), whatever comes of it */
ngx_int_t ngx_http_batch_final_decode(ngx_http_batch_final_t *final,
    const char *id, u_char *data, size_t len);

/* 1 if this is a brief text that lacks errors: final.json has them all */
ngx_uint_t ngx_http_batch_final_is_brief(const ngx_str_t *text);

/* "usage" of a final.json, or NULL; no count is above BATCH_USAGE_MAX */
void ngx_http_batch_final_usage(json_t *usage, batch_usage_t *u);

/* text of the batch's final.json -> its status, and its own stamp */
ngx_int_t ngx_http_batch_final_status(const ngx_str_t *text, const char *id,
    batch_status_e *status, int64_t *ended_at);

/* it is zeroed; harmless to one that is zeroed already */
void ngx_http_batch_final_free(ngx_http_batch_final_t *final);

/*
 * Publishes the manifests of the files that final.json names, where they are
 * missing and the file was not deleted: they are derived from it.  NGX_ERROR:
 * not all of them; to be done again.
 */
ngx_int_t ngx_http_batch_final_settle(const ngx_http_batch_final_t *final,
    ngx_log_t *log);

#endif
