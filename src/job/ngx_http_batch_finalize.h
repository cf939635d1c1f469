/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Finalizing: seals (and, where a chunk has none because the batch was
 * cancelled or expired, its segments) -> output and error file -> final.json.
 * In a thread.  Whoever publishes final.json first wins; the loser takes the
 * winner's text and unlinks its own blobs, so two at once are harmless.
 */

#ifndef _NGX_HTTP_BATCH_FINALIZE_H_INCLUDED_
#define _NGX_HTTP_BATCH_FINALIZE_H_INCLUDED_

#include "ngx_http_batch.h"
#include "ngx_http_batch_object.h"
#include "ngx_http_batch_plan.h"
#include "ngx_http_batch_final.h"

typedef enum {
    NGX_HTTP_BATCH_FINAL_OK = 0,    /* final.json is durable: final is filled */
    NGX_HTTP_BATCH_FINAL_REDO,      /* chunk redo_chunk has no valid seal, and
                                       the batch is neither cancelled nor
                                       expired: it must run again */
    NGX_HTTP_BATCH_FINAL_QUIT,
    NGX_HTTP_BATCH_FINAL_TROUBLE    /* disk trouble: try again later */
} ngx_http_batch_finalize_e;

/* a line of the result that is in memory */
typedef struct {
    const batch_record_t         *record;
    const u_char                 *line;
} ngx_http_batch_finalize_line_t;

typedef struct {
    /* in */
    char                          id[BATCH_ID_LEN];
    const ngx_http_batch_meta_t  *known;       /* what batch.json says, if that
                                                  is known already; the
                                                  caller's */
    ngx_uint_t                    expired;     /* the index says: expiry */
    int64_t                       finalizing_at;     /* the index's, 0 = none */

    /* in, if no segment was made: all lines of the batch, in the order of their
     * completion, and its plan; they are the caller's */
    ngx_http_batch_finalize_line_t   *lines;
    size_t                            nlines;
    const ngx_http_batch_plan_t      *plan;

    /* out; the caller's to free: json_decref(root), and with
     * ngx_http_batch_final_free() */
    ngx_http_batch_finalize_e     rc;
    ngx_http_batch_meta_t         meta;        /* batch.json, its strings in
                                                  root, or the same as known */
    json_t                       *root;
    ngx_http_batch_final_t        final;       /* FINAL_OK */
    uint32_t                      redo_chunk;
} ngx_http_batch_finalize_t;

/* in a thread */
void ngx_http_batch_finalize(ngx_http_batch_finalize_t *f, ngx_log_t *log);

#endif
