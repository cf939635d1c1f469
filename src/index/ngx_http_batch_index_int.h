/*
 * Private to ngx_http_batch_index*.c: a call's arguments, and how its reply
 * is read.
 *
 * Every script answers {code, ...}: 0 done, 1 declined, 2 the index is being
 * rebuilt; what follows is described at the top of its file.
 */

#ifndef _NGX_HTTP_BATCH_INDEX_INT_H_INCLUDED_
#define _NGX_HTTP_BATCH_INDEX_INT_H_INCLUDED_

#include "ngx_http_batch_index.h"
#include "ngx_http_batch_redis.h"
#include "ngx_http_batch_lua.h"


#define NGX_HTTP_BATCH_ARGS_MAX  48


/* keys first, then the rest; what is not a caller's string is in the pool */

typedef struct {
    ngx_pool_t                 *pool;
    ngx_uint_t                  nkeys;
    ngx_uint_t                  n;
    uint64_t                    unnamed;    /* bits of argv: the server comes
                                               behind it when it is sent */
    uint64_t                    gen;        /* of these, args_gen() */
    ngx_uint_t                  failed;     /* no memory: nothing is sent */
    ngx_str_t                   argv[NGX_HTTP_BATCH_ARGS_MAX];
} ngx_http_batch_args_t;


typedef enum {
    NGX_HTTP_BATCH_REPLY_CODE = 0,          /* {code} */
    NGX_HTTP_BATCH_REPLY_STATUS,            /* {code, status} */
    NGX_HTTP_BATCH_REPLY_ITEMS,             /* {code, has_more or cursor,
                                                {string...}} */
    NGX_HTTP_BATCH_REPLY_VIEW,              /* {code, view} */
    NGX_HTTP_BATCH_REPLY_VIEWS,             /* {code, has_more, {view...}} */
    NGX_HTTP_BATCH_REPLY_CLAIM,
    NGX_HTTP_BATCH_REPLY_USE                /* {code, over, used} */
} ngx_http_batch_reply_e;


#define NGX_HTTP_BATCH_SCRIPT(name, text)                                     \
    static ngx_http_batch_script_t  ngx_http_batch_script_##name =            \
        { #name, text, "" }


void ngx_http_batch_args_init(ngx_http_batch_args_t *a);

/* "{<prefix>}:name", ":id" and ":sub" behind it unless they are NULL */
void ngx_http_batch_args_key(ngx_http_batch_args_t *a, const char *name,
    const char *id, const ngx_str_t *sub);

/* the key that says that the index is filled: its name has the server in it, so
 * that after a restart or a failover, which may have lost the latest writes, it
 * is not there.  Nor is the one of an era that this worker has not asked about */
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

/* when it is sent: puts the server behind all that is named after it */
void ngx_http_batch_args_named(ngx_http_batch_args_t *a);

/* claim said that Redis has this time, ms */
void ngx_http_batch_index_clock_seen(int64_t ms);

/*
 * Sends, and gives the arguments' memory back in any case; a new worker's call
 * waits for its link first.  changed: the batch of which
 * ngx_http_batch_index_on_change() is told when the call has succeeded, or NULL.
 */
ngx_int_t ngx_http_batch_index_send(ngx_http_batch_script_t *script,
    ngx_http_batch_args_t *a, ngx_http_batch_reply_e kind,
    const char *changed, ngx_http_batch_index_pt cb, void *data);


#endif /* _NGX_HTTP_BATCH_INDEX_INT_H_INCLUDED_ */
