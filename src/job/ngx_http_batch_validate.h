/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Validation: one pass over the input, in a thread.  Every bad line is found;
 * the first NGX_HTTP_BATCH_ERRORS_MAX are listed, in NGX_HTTP_BATCH_ERRORS_SIZE
 * bytes, and a last entry says how many more there are.  Nothing grows with the
 * file except on disk: the check for duplicate custom_ids sorts keyed 64-bit
 * hashes in runs in tmp/ and looks at the lines themselves where hashes meet.
 */

#ifndef _NGX_HTTP_BATCH_VALIDATE_H_INCLUDED_
#define _NGX_HTTP_BATCH_VALIDATE_H_INCLUDED_

#include "ngx_http_batch.h"
#include "ngx_http_batch_object.h"
#include "ngx_http_batch_plan.h"
#include "ngx_http_batch_final.h"

#define NGX_HTTP_BATCH_ERRORS_MAX      1000
#define NGX_HTTP_BATCH_ERRORS_SIZE     (256 * 1024)        /* bytes of JSON */
#define NGX_HTTP_BATCH_INPUTS_MAX      50000     /* embedding inputs */

typedef enum {
    NGX_HTTP_BATCH_VALID = 0,      /* plan.json is durable; plan is filled */
    NGX_HTTP_BATCH_COUNTED,        /* max_lines: it is good, and nothing is
                                      published; plan is filled */
    NGX_HTTP_BATCH_INVALID,        /* final.json (failed) is durable */
    NGX_HTTP_BATCH_CANCELLED_EARLY,/* cancel.json is there: nothing done */
    NGX_HTTP_BATCH_ENDED,          /* final.json is there already */
    NGX_HTTP_BATCH_QUIT,           /* the worker leaves: nothing done */
    NGX_HTTP_BATCH_UNROUTED,       /* the location is gone, and
                                      another's limits would judge wrongly,
                                      once and for all: nothing done */
    NGX_HTTP_BATCH_TROUBLE         /* disk trouble: try again later */
} ngx_http_batch_validate_e;

typedef struct {
    /* in */
    char                          id[BATCH_ID_LEN];

    /* for _decide(), whether the index has room for the batch's lines */
    ngx_uint_t                    over;            /* it has not */
    uint64_t                      used;            /* then: lines of others */

    /* out, those of the location that the batch came in by; 0: no limit */
    ngx_uint_t                    max_requests;
    off_t                         max_file_size;
    size_t                        max_line_size;
    ngx_uint_t                    max_lines;       /* of the tenant */

    /* out; the caller's to free: json_decref(root), and with
     * ngx_http_batch_plan_free() and ngx_http_batch_final_free() */
    ngx_http_batch_validate_e     rc;
    ngx_http_batch_meta_t         meta;            /* batch.json; its strings
                                                      in root */
    json_t                       *root;            /* NULL: it is not known */
    ngx_http_batch_plan_t         plan;            /* VALID, COUNTED */
    ngx_http_batch_final_t        final;           /* INVALID, ENDED */
} ngx_http_batch_validate_t;

/* in a thread */
void ngx_http_batch_validate(ngx_http_batch_validate_t *v, ngx_log_t *log);

/* the same, after COUNTED: publishes the plan, or, if over, that it failed */
void ngx_http_batch_validate_decide(ngx_http_batch_validate_t *v,
    ngx_log_t *log);

/* reads batch.json; that there is none is an alert, too.  NGX_OK, NGX_ERROR */
ngx_int_t ngx_http_batch_validate_meta(const char *id,
    ngx_http_batch_meta_t *meta, json_t **root, ngx_log_t *log);

#endif
