/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The keys and arguments of a call of the index.
 */

#ifndef _NGX_HTTP_BATCH_ARGS_H_INCLUDED_
#define _NGX_HTTP_BATCH_ARGS_H_INCLUDED_

#include "ngx_http_batch.h"


#define NGX_HTTP_BATCH_ARGS_MAX  48


/* keys first, then the rest; what is not a caller's string is in the pool */

typedef struct {
    const char                 *id;         /* of the batch or file that the
                                               call is about, "": of none */
    ngx_pool_t                 *pool;
    ngx_uint_t                  nkeys;
    ngx_uint_t                  n;
    uint64_t                    unnamed;    /* bits of argv: the server comes
                                               after it when it is sent */
    uint64_t                    gen;        /* of these, args_gen() */
    ngx_uint_t                  failed;     /* no memory: nothing is sent */
    ngx_str_t                   argv[NGX_HTTP_BATCH_ARGS_MAX];
} ngx_http_batch_args_t;


/* id is borrowed until the call is sent */
void ngx_http_batch_args_init(ngx_http_batch_args_t *a, const char *id);

/* "{<prefix>}:name", ":id" and ":sub" after it unless they are NULL */
void ngx_http_batch_args_key(ngx_http_batch_args_t *a, const char *name,
    const char *id, const ngx_str_t *sub);

/* the key that says that the index is filled: its name has the server in it, so
 * that after a restart or a failover, which may have lost the latest writes, it
 * is not there.  Nor is that of an era that this worker has not asked about. */
void ngx_http_batch_args_gen(ngx_http_batch_args_t *a);

/* the key "{<prefix>}:name:<server>"; name NULL: the server as an argument.
 * Nothing else may name it: it is known when the call is sent, not earlier. */
void ngx_http_batch_args_server(ngx_http_batch_args_t *a, const char *name);

/* a key's name as an argument: what keys that a script makes begin with */
void ngx_http_batch_args_prefix(ngx_http_batch_args_t *a, const char *name);

/* strings are borrowed until the call is sent; NULL is an empty one */
void ngx_http_batch_args_str(ngx_http_batch_args_t *a, const ngx_str_t *s);
void ngx_http_batch_args_text(ngx_http_batch_args_t *a, const char *s);
void ngx_http_batch_args_int(ngx_http_batch_args_t *a, int64_t n);

/* when it is sent: completes all that is named after the server */
void ngx_http_batch_args_named(ngx_http_batch_args_t *a);

#endif /* _NGX_HTTP_BATCH_ARGS_H_INCLUDED_ */
