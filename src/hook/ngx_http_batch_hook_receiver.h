/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Receivers of webhooks, as this worker knows them.
 *
 * A receiver is a location's and a tenant's; and where the location turns out
 * to lead to several servers for one tenant, each of these is one.  Each has
 * places of its own: a few if it has answered well, one if it has not, and none
 * for as long as its last failed attempt took.  Those that are not known to be
 * good share what is not kept for the good ones.
 */

#ifndef _NGX_HTTP_BATCH_HOOK_RECEIVER_H_INCLUDED_
#define _NGX_HTTP_BATCH_HOOK_RECEIVER_H_INCLUDED_

#include "ngx_http_batch.h"


#define NGX_HTTP_BATCH_RECEIVERS      256      /* remembered */


/* in a table of this worker; not replaced while something flies */

typedef struct {
    uint64_t      key;                   /* 0: the place is free */
    ngx_uint_t    flying;                /* places taken */
    ngx_uint_t    good;                  /* it has answered well */
    ngx_uint_t    failures;              /* in a row, since */
    ngx_msec_t    open_at;               /* if failures: none before */
    ngx_msec_t    used;
    uint64_t      leads;                 /* a hash of the server that it has
                                            led to; 0: none yet */
    ngx_uint_t    many;                  /* to more than one */
} ngx_http_batch_receiver_t;


/* limit: attempts at once, of all receivers */
ngx_int_t ngx_http_batch_receiver_init(ngx_uint_t limit);

/* the one of that key, or a new one; never NULL */
ngx_http_batch_receiver_t *ngx_http_batch_receiver_get(uint64_t key);

/* how many places it has left; of those that are not known */
ngx_uint_t ngx_http_batch_receiver_left(ngx_http_batch_receiver_t *rc);
ngx_uint_t ngx_http_batch_receiver_others(void);

/* "key=places ..." of all whose places are not those of others; until the next
 * call */
void ngx_http_batch_receiver_list(ngx_str_t *list);

/* an attempt has ended, after took ms */
void ngx_http_batch_receiver_outcome(ngx_http_batch_receiver_t *rc,
    ngx_uint_t good, ngx_msec_t took);

/* a hash of the server that the request has been sent to; 0: none */
uint64_t ngx_http_batch_receiver_server(ngx_http_request_t *r);


#endif /* _NGX_HTTP_BATCH_HOOK_RECEIVER_H_INCLUDED_ */
