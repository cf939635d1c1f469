/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Idempotency-Key.
 */

#ifndef _NGX_HTTP_BATCH_IDEM_H_INCLUDED_
#define _NGX_HTTP_BATCH_IDEM_H_INCLUDED_

#include "ngx_http_batch_api.h"

#include <jansson.h>
#include <ngx_sha1.h>


/* a request with a key; from the op's pool */

typedef struct {
    char                        key[41];       /* SHA-1 of tenant and key */
    ngx_sha1_t                  sha1;          /* of the request so far */
    ngx_str_t                   first;         /* replay: the object's text */
    json_t                     *root;          /* first points into it */
    json_t                     *object;        /* first, decoded */
    unsigned                    replay:1;      /* the same request was here */
    unsigned                    other:1;       /* another one was */
    unsigned                    gone:1;        /* what it made was deleted */
} ngx_http_batch_idem_t;


/* looks for the header; NGX_OK (also without one), or NGX_DONE if the op was
 * rejected */
ngx_int_t ngx_http_batch_idem_init(ngx_http_batch_op_t *op);

/* adds to what makes a request the same, besides method and path; also in a
 * task */
void ngx_http_batch_idem_add(ngx_http_batch_op_t *op, const void *p,
    size_t len);

/*
 * In a task, if there is op->idem.  NGX_AGAIN: the key is free; NGX_DONE, with
 * idem->first and idem->replay: this request has used it; NGX_DECLINED:
 * another one has; NGX_ERROR.
 */
ngx_int_t ngx_http_batch_idem_look(ngx_http_batch_op_t *op, ngx_log_t *log);

/*
 * In a task, once, if there is op->idem, right before the object (its
 * manifest) is published: as ngx_http_batch_keys_claim(), with idem->first.
 * If a quota is exceeded, only what was published before counts, else
 * NGX_AGAIN.
 */
ngx_int_t ngx_http_batch_idem_claim(ngx_http_batch_op_t *op,
    const ngx_str_t *object, ngx_log_t *log);

/* after the task: NGX_OK, or NGX_DONE if the key was another request's */
ngx_int_t ngx_http_batch_idem_check(ngx_http_batch_op_t *op);


#endif /* _NGX_HTTP_BATCH_IDEM_H_INCLUDED_ */
