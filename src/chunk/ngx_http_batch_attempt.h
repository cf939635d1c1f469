/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * One attempt to send a line or a webhook to a location: a fake main request
 * with one subrequest, which POSTs JSON.  docs/internals/request.md says what
 * of nginx it rests on.
 *
 *   attempt    its request, from send to teardown
 *   capture    the filters that take its answer
 *   accel      X-Accel-* of its answer is no order
 *   variable   $batch_id and the like
 */

#ifndef _NGX_HTTP_BATCH_ATTEMPT_H_INCLUDED_
#define _NGX_HTTP_BATCH_ATTEMPT_H_INCLUDED_

#include "ngx_http_batch.h"


#define NGX_HTTP_BATCH_ATTEMPT_BLOCKED    10    /* ms, until it is cut again */


typedef struct ngx_http_batch_attempt_s  ngx_http_batch_attempt_t;


/* variables of the request that is sent: $batch_id, ... */

typedef enum {
    NGX_HTTP_BATCH_VARIABLE_ID = 0,
    NGX_HTTP_BATCH_VARIABLE_CUSTOM_ID,
    NGX_HTTP_BATCH_VARIABLE_LINE,
    NGX_HTTP_BATCH_VARIABLE_ATTEMPT,
    NGX_HTTP_BATCH_VARIABLE_TENANT,
    NGX_HTTP_BATCH_VARIABLE_JOB,
    NGX_HTTP_BATCH_VARIABLE_MODEL
} ngx_http_batch_variable_e;


/* what lines and webhooks do differently; in the order of an attempt's life */

typedef struct {
    char                         *action;         /* for logs */
    /* for each log line: writes whose attempt it is */
    u_char                     *(*log)(ngx_http_batch_attempt_t *at,
                                     u_char *buf, size_t len);
    /* NGX_DECLINED: it has no such variable */
    ngx_int_t                   (*variable)(ngx_http_batch_attempt_t *at,
                                     ngx_http_request_t *r,
                                     ngx_http_batch_variable_e var,
                                     ngx_str_t *value);
    /* The header of the answer: at->sr->headers_out.  After error_page it may
     * come a second time, and that one counts.  header, body: NGX_ERROR: the
     * rest is not wanted, the attempt may end. */
    ngx_int_t                   (*header)(ngx_http_batch_attempt_t *at);
    /* a piece of its body, in memory */
    ngx_int_t                   (*body)(ngx_http_batch_attempt_t *at,
                                     const u_char *p, size_t len);
    /* 1: no more of it fits now; attempt_resume() follows */
    ngx_uint_t                  (*full)(ngx_http_batch_attempt_t *at);
    /* The subrequest has ended with rc, maybe for the second time.  cut: nginx
     * has given it up, there may be no answer. */
    void                        (*post)(ngx_http_batch_attempt_t *at,
                                     ngx_int_t rc, ngx_uint_t cut);
    /* it is torn down: its answer, or the lack of one, is known */
    void                        (*answered)(ngx_http_batch_attempt_t *at);
} ngx_http_batch_attempt_type_t;


/*
 * The first member of the line or of the webhook that it belongs to, and the
 * context of its main request.  The connection is its own, so that it takes no
 * slot of clients' connections.  c.pool is the owner's; it is reset before each
 * attempt.  The request has a pool of its own, which dies with the attempt.
 */

struct ngx_http_batch_attempt_s {
    ngx_uint_t                    kind;           /* NGX_HTTP_BATCH_CTX_ATTEMPT,
                                                     the first member */
    const ngx_http_batch_attempt_type_t  *type;

    /* what is sent where; all of it the owner's, to the end of the attempt */
    ngx_http_conf_ctx_t          *conf;           /* of a location */
    ngx_str_t                     uri;
    ngx_str_t                     request_line;   /* for logs */
    ngx_str_t                     body;
    ngx_keyval_t                 *headers;        /* besides the usual ones */
    ngx_uint_t                    nheaders;

    ngx_http_request_t           *r;              /* NULL: none is under way */
    ngx_http_request_t           *sr;
    ngx_connection_t              c;
    ngx_event_t                   rev;
    ngx_event_t                   wev;
    ngx_log_t                     log;
    ngx_http_log_ctx_t            log_ctx;
    ngx_http_connection_t         hc;
    ngx_uint_t                    done;           /* post was called */
    ngx_uint_t                    last;           /* the body is complete */
    ngx_chain_t                  *held;           /* of the body, what is not
                                                     taken yet; sr's pool */
};


void ngx_http_batch_attempt_init(void);

/*
 * Sends what is in at, with a pool in at->c.  NGX_OK: type->answered() will be
 * called, or was called from inside the call already; NGX_ERROR: it is torn
 * down, and nothing is called.
 */
ngx_int_t ngx_http_batch_attempt_send(ngx_http_batch_attempt_t *at);

/*
 * Ends it from outside, if there is one.  NGX_AGAIN: a thread still points to
 * its request, try again after NGX_HTTP_BATCH_ATTEMPT_BLOCKED.
 */
ngx_int_t ngx_http_batch_attempt_cut(ngx_http_batch_attempt_t *at);

/*
 * hold (from a filter only): the upstream is not read from until resume, which
 * does nothing if there was no hold.
 */
void ngx_http_batch_attempt_hold(ngx_http_batch_attempt_t *at);
void ngx_http_batch_attempt_resume(ngx_http_batch_attempt_t *at);

/* the attempt that the request belongs to, or NULL: it is a client's */
ngx_http_batch_attempt_t *ngx_http_batch_attempt_of(ngx_http_request_t *r);

/* postconfiguration: adds the filters */
ngx_int_t ngx_http_batch_capture_add(ngx_conf_t *cf);

/* postconfiguration: X-Accel-* of an answer is ignored, wherever it comes */
ngx_int_t ngx_http_batch_accel_add(ngx_conf_t *cf);

/* preconfiguration: adds the variables */
ngx_int_t ngx_http_batch_variable_add(ngx_conf_t *cf);

/*
 * The value of a variable that a stranger has chosen, safe in a header, a log
 * and a URL; all that is not of our own making comes this way.  text: bytes;
 * token: a JSON string, NGX_DECLINED: there is none.
 */
ngx_int_t ngx_http_batch_variable_text(ngx_pool_t *pool, const ngx_str_t *text,
    ngx_str_t *value);
ngx_int_t ngx_http_batch_variable_token(ngx_pool_t *pool, batch_str_t *token,
    ngx_str_t *value);


#endif /* _NGX_HTTP_BATCH_ATTEMPT_H_INCLUDED_ */
