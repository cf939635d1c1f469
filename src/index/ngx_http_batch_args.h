/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The keys and arguments of a call of the index.
 */

#ifndef _NGX_HTTP_BATCH_ARGS_H_INCLUDED_
#define _NGX_HTTP_BATCH_ARGS_H_INCLUDED_

#include "ngx_http_batch_redis.h"


#define NGX_HTTP_BATCH_ARGS_MAX  56


typedef enum {
    NGX_HTTP_BATCH_REPLY_CODE = 0,          /* {code} */
    NGX_HTTP_BATCH_REPLY_STATUS,            /* {code, status} */
    NGX_HTTP_BATCH_REPLY_ITEMS,             /* {code, has_more or cursor,
                                                {string...}} */
    NGX_HTTP_BATCH_REPLY_VIEW,              /* {code, view} */
    NGX_HTTP_BATCH_REPLY_VIEWS,             /* {code, has_more, {view...}};
                                               of lists both have {..., id,
                                               score} */
    NGX_HTTP_BATCH_REPLY_CLAIM,
    NGX_HTTP_BATCH_REPLY_USE                /* {code, over, used, granted} */
} ngx_http_batch_reply_e;


/* what a call wants besides its answer */

#define NGX_HTTP_BATCH_INDEX_ANY      0
#define NGX_HTTP_BATCH_INDEX_GEN      1     /* KEYS[1] says whether the index
                                               is filled */
#define NGX_HTTP_BATCH_INDEX_FILLED   3     /* ... and unless it is, there is
                                               nothing but BUSY */
#define NGX_HTTP_BATCH_INDEX_CHANGED  4     /* a batch: index_on_change() is
                                               told when it has succeeded */

/* a client's, and not a rebuild's, though the script is the same */
#define NGX_HTTP_BATCH_INDEX_CLIENT                                           \
    (NGX_HTTP_BATCH_INDEX_FILLED|NGX_HTTP_BATCH_INDEX_CHANGED)


/* a script, what it answers, what each call of it wants */

typedef struct {
    ngx_http_batch_script_t     lua;
    ngx_http_batch_reply_e      reply;
    ngx_uint_t                  flags;
} ngx_http_batch_index_script_t;

#define NGX_HTTP_BATCH_SCRIPT(name, text, reply, flags)                       \
    static ngx_http_batch_index_script_t  ngx_http_batch_script_##name = {    \
        { #name, NGX_HTTP_BATCH_LUA_##text, "" },                             \
        NGX_HTTP_BATCH_REPLY_##reply, NGX_HTTP_BATCH_INDEX_##flags            \
    }


/* keys first, then the rest; what is not a caller's string is in the pool */

typedef struct {
    ngx_http_batch_index_script_t  *script;
    ngx_uint_t                  flags;      /* the script's, and the call's */
    const char                 *id;         /* of the batch or file that the
                                               call is about, "": of none */
    ngx_pool_t                 *pool;
    ngx_uint_t                  nkeys;
    ngx_uint_t                  n;
    uint64_t                    unnamed;    /* bits of argv: the server comes
                                               after it when it is sent */
    uint64_t                    gen;        /* of these, the key of GEN */
    ngx_uint_t                  failed;     /* no memory: nothing is sent */
    ngx_str_t                   argv[NGX_HTTP_BATCH_ARGS_MAX];
} ngx_http_batch_args_t;


/* id is borrowed until the call is sent; the key of GEN is put first */
void ngx_http_batch_args_init(ngx_http_batch_args_t *a,
    ngx_http_batch_index_script_t *script, const char *id);

/* "{<prefix>}:name", ":id" and ":sub" after it unless they are NULL */
void ngx_http_batch_args_key(ngx_http_batch_args_t *a, const char *name,
    const char *id, const ngx_str_t *sub);

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
