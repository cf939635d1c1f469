/*
 * Validation: one pass over the input, in a thread.  Every bad line is found;
 * the first NGX_HTTP_BATCH_ERRORS_MAX are listed and a last entry says how many
 * more there are.  Nothing grows with the file except on disk: the check for
 * duplicate custom_ids sorts keyed 64-bit hashes in runs in tmp/ and looks at
 * the lines themselves where hashes meet.
 */

#ifndef _NGX_HTTP_BATCH_VALIDATE_H_INCLUDED_
#define _NGX_HTTP_BATCH_VALIDATE_H_INCLUDED_

#include "ngx_http_batch.h"
#include "ngx_http_batch_object.h"
#include "ngx_http_batch_plan.h"

#define NGX_HTTP_BATCH_ERRORS_MAX      1000
#define NGX_HTTP_BATCH_LINE_MAX        (8 * 1024 * 1024)   /* bytes */
#define NGX_HTTP_BATCH_INPUTS_MAX      50000     /* embedding inputs */

typedef enum {
    NGX_HTTP_BATCH_VALID = 0,      /* plan.json is durable; plan is filled */
    NGX_HTTP_BATCH_COUNTED,        /* max_lines: it is good, and nothing is
                                      published; plan is filled */
    NGX_HTTP_BATCH_INVALID,        /* final.json (failed) is durable */
    NGX_HTTP_BATCH_CANCELLED_EARLY,/* cancel.json is there: nothing done */
    NGX_HTTP_BATCH_ENDED,          /* final.json is there already */
    NGX_HTTP_BATCH_QUIT,           /* the worker leaves: nothing done */
    NGX_HTTP_BATCH_UNROUTED,       /* limits are not known: nothing done */
    NGX_HTTP_BATCH_TROUBLE         /* disk trouble: try again later */
} ngx_http_batch_validate_e;

typedef struct {
    /* in */
    char                          id[BATCH_ID_LEN];
    ngx_uint_t                    max_requests;    /* 0 = no limit */
    off_t                         max_file_size;   /* 0 = no limit */
    ngx_uint_t                    max_lines;       /* of the tenant; 0 = no
                                                      limit */
    ngx_uint_t                    over;            /* for _decide(): there is
                                                      no place for them */
    uint64_t                      used;            /* then: lines of others */
    ngx_uint_t                    unrouted;        /* there is no location to
                                                      have limits: what was
                                                      decided before counts */
    int64_t                       created;         /* s; from batch.json */

    /* out; the caller frees plan with ngx_http_batch_plan_free() and final.data
     * and meta_text.data with ngx_free() */
    ngx_http_batch_validate_e     rc;
    ngx_http_batch_plan_t         plan;            /* VALID, COUNTED */
    ngx_str_t                     final;           /* INVALID, ENDED */
    ngx_str_t                     meta_text;       /* batch.json, always unless
                                                      TROUBLE */
} ngx_http_batch_validate_t;

/* blocks: a task's run(); log may be a thread's */
void ngx_http_batch_validate(ngx_http_batch_validate_t *v, ngx_log_t *log);

/* the same, after COUNTED: publishes the plan, or, if over, that it failed */
void ngx_http_batch_validate_decide(ngx_http_batch_validate_t *v,
    ngx_log_t *log);

#endif
