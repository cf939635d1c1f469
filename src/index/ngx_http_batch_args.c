/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The keys and arguments of a call of the index.
 */

#include "ngx_http_batch_args.h"
#include "ngx_http_batch_index.h"
#include "ngx_http_batch_link.h"
#include "ngx_http_batch_slots.h"


static void ngx_http_batch_args_gen(ngx_http_batch_args_t *a);
static u_char *ngx_http_batch_args_alloc(ngx_http_batch_args_t *a,
    size_t size);


void
ngx_http_batch_args_init(ngx_http_batch_args_t *a,
    ngx_http_batch_index_script_t *script, const char *id)
{
    a->script = script;
    a->flags = script->flags;
    a->id = id ? id : "";
    a->nkeys = 0;
    a->n = 0;
    a->unnamed = 0;
    a->gen = 0;
    a->pool = ngx_create_pool(1024, ngx_cycle->log);
    a->failed = (a->pool == NULL);

    if (a->flags & NGX_HTTP_BATCH_INDEX_GEN) {
        ngx_http_batch_args_gen(a);
    }
}


/*
 * The key that says that the index is filled: its name has the server in it, so
 * that after a restart or a failover, which may have lost the latest writes, it
 * is not there.  Nor is that of an era that this worker has not asked about.
 */

static void
ngx_http_batch_args_gen(ngx_http_batch_args_t *a)
{
    a->gen = (uint64_t) 1 << a->n;

    ngx_http_batch_args_server(a, "gen");
}


static u_char *
ngx_http_batch_args_alloc(ngx_http_batch_args_t *a, size_t size)
{
    u_char  *p;

    if (a->failed || a->n == NGX_HTTP_BATCH_ARGS_MAX) {
        a->failed = 1;
        return NULL;
    }

    p = ngx_pnalloc(a->pool, size);
    if (p == NULL) {
        a->failed = 1;
    }

    return p;
}


void
ngx_http_batch_args_key(ngx_http_batch_args_t *a, const char *name,
    const char *id, const ngx_str_t *sub)
{
    u_char     *p;
    size_t      size;
    ngx_str_t  *prefix = &ngx_http_batch_conf->redis.prefix;

    size = sizeof("{}::") + prefix->len + ngx_strlen(name)
           + (id ? ngx_strlen(id) : 0) + (sub ? sub->len + 1 : 0);

    p = ngx_http_batch_args_alloc(a, size);
    if (p == NULL) {
        return;
    }

    a->argv[a->n].data = p;

    p = ngx_sprintf(p, "{%V}:%s", prefix, name);

    if (id) {
        p = ngx_sprintf(p, ":%s", id);
    }

    if (sub) {
        *p++ = ':';
        p = ngx_cpymem(p, sub->data, sub->len);
    }

    a->argv[a->n].len = p - a->argv[a->n].data;
    a->n++;
    a->nkeys++;
}


void
ngx_http_batch_args_server(ngx_http_batch_args_t *a, const char *name)
{
    if (a->n < NGX_HTTP_BATCH_ARGS_MAX) {
        a->unnamed |= (uint64_t) 1 << a->n;
    }

    if (name) {
        ngx_http_batch_args_key(a, name, "", NULL);

    } else {
        ngx_http_batch_args_str(a, NULL);
    }
}


void
ngx_http_batch_args_named(ngx_http_batch_args_t *a)
{
    u_char      *p;
    size_t       len;
    ngx_uint_t   i;
    const char  *server;

    for (i = 0; i < a->n; i++) {

        if (!(a->unnamed & (uint64_t) 1 << i)) {
            continue;
        }

        server = ngx_http_batch_link_server();

        /* no server has that name: there is no such key */

        if ((a->gen & (uint64_t) 1 << i)
            && ngx_http_batch_index_era != ngx_http_batch_slots_era())
        {
            ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                           "batch: index: era %uA, this worker has asked for "
                           "that of %uA", ngx_http_batch_slots_era(),
                           ngx_http_batch_index_era);
            server = "-";
        }

        len = ngx_strlen(server);

        p = ngx_pnalloc(a->pool, a->argv[i].len + len);
        if (p == NULL) {
            a->failed = 1;
            return;
        }

        ngx_memcpy(ngx_cpymem(p, a->argv[i].data, a->argv[i].len), server,
                   len);

        a->argv[i].data = p;
        a->argv[i].len += len;
    }
}


void
ngx_http_batch_args_prefix(ngx_http_batch_args_t *a, const char *name)
{
    ngx_uint_t  nkeys = a->nkeys;

    ngx_http_batch_args_key(a, name, "", NULL);
    a->nkeys = nkeys;
}


void
ngx_http_batch_args_str(ngx_http_batch_args_t *a, const ngx_str_t *s)
{
    if (a->failed || a->n == NGX_HTTP_BATCH_ARGS_MAX) {
        a->failed = 1;
        return;
    }

    if (s == NULL) {
        ngx_str_set(&a->argv[a->n], "");

    } else {
        a->argv[a->n] = *s;
    }

    a->n++;
}


void
ngx_http_batch_args_text(ngx_http_batch_args_t *a, const char *s)
{
    ngx_str_t  text;

    text.data = (u_char *) s;
    text.len = ngx_strlen(s);

    ngx_http_batch_args_str(a, &text);
}


void
ngx_http_batch_args_int(ngx_http_batch_args_t *a, int64_t n)
{
    u_char  *p;

    p = ngx_http_batch_args_alloc(a, NGX_INT64_LEN);
    if (p == NULL) {
        return;
    }

    a->argv[a->n].data = p;
    a->argv[a->n].len = ngx_sprintf(p, "%L", n) - p;
    a->n++;
}
