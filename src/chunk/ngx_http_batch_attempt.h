/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * One attempt to send something to a location: of a line, or of a webhook.
 */

#ifndef _NGX_HTTP_BATCH_ATTEMPT_H_INCLUDED_
#define _NGX_HTTP_BATCH_ATTEMPT_H_INCLUDED_

#include "ngx_http_batch.h"


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


/*
 * A fake main request with one subrequest, which POSTs JSON: an attempt of a
 * line, or of a webhook.  Its own connection, so that nothing of it takes a slot
 * of clients' connections.  The connection's pool is reset between attempts; the
 * request lives in its own pool.  ctx of the fake main request.
 */

typedef struct {
    ngx_log_handler_pt            log;            /* data: at->log_ctx */
    char                         *action;         /* for logs */
    /* The subrequest has ended with rc; maybe twice.  cut: nginx had given it
     * up, there may be no answer. */
    void                        (*post)(ngx_http_batch_attempt_t *at,
                                     ngx_int_t rc, ngx_uint_t cut);
    /* it is torn down: its answer, or the lack of one, is known */
    void                        (*answered)(ngx_http_batch_attempt_t *at);
    /* NGX_DECLINED: it has no such variable */
    ngx_int_t                   (*variable)(ngx_http_batch_attempt_t *at,
                                     ngx_http_request_t *r,
                                     ngx_http_batch_variable_e var,
                                     ngx_str_t *value);
} ngx_http_batch_attempt_type_t;

struct ngx_http_batch_attempt_s {
    ngx_uint_t                    kind;           /* NGX_HTTP_BATCH_CTX_LINE, or
                                                     _HOOK */
    ngx_http_batch_attempt_type_t  *type;

    /* what is sent where; all of it the caller's */
    ngx_http_conf_ctx_t          *conf;           /* of a location in the server */
    ngx_str_t                     uri;
    ngx_str_t                     request_line;   /* for logs */
    ngx_str_t                     body;
    ngx_keyval_t                 *headers;        /* besides the usual ones */
    ngx_uint_t                    nheaders;

    ngx_http_request_t           *r;
    ngx_http_request_t           *sr;
    ngx_connection_t              c;
    ngx_event_t                   rev;
    ngx_event_t                   wev;
    ngx_log_t                     log;
    ngx_http_log_ctx_t            log_ctx;
    ngx_http_connection_t         hc;
    ngx_uint_t                    done;           /* post was called */
    ngx_chain_t                  *held;           /* of the answer, that there
                                                     was no room for yet; sr's
                                                     pool */
};


void ngx_http_batch_attempt_init(void);

/* with a pool in at->c; NGX_ERROR: tear it down */
ngx_int_t ngx_http_batch_attempt_send(ngx_http_batch_attempt_t *at);
void ngx_http_batch_attempt_teardown(ngx_http_batch_attempt_t *at);

/*
 * The upstream is not read from until attempt_resume(), which only does something
 * if that was called.  Header and body filter only.
 */
void ngx_http_batch_attempt_hold(ngx_http_batch_attempt_t *at);
void ngx_http_batch_attempt_resume(ngx_http_batch_attempt_t *at);

/* whose request it is, if it is of that kind, or NULL */
ngx_http_batch_attempt_t *ngx_http_batch_attempt_of(ngx_http_request_t *r,
    ngx_uint_t kind);

/* preconfiguration: adds the variables */
ngx_int_t ngx_http_batch_variable_add(ngx_conf_t *cf);

/* a JSON string of a client, safe for a header; NGX_DECLINED: it is empty */
ngx_int_t ngx_http_batch_variable_token(ngx_pool_t *pool, batch_str_t *token,
    ngx_str_t *value);


#endif /* _NGX_HTTP_BATCH_ATTEMPT_H_INCLUDED_ */
