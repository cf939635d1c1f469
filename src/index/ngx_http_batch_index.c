/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the functions of the index have in common: a call is sent, and its reply
 * read.
 */

#include "ngx_http_batch_index_int.h"


#define NGX_HTTP_BATCH_INDEX_WAITING  4096   /* calls, before the first link */


typedef struct {
    ngx_http_batch_index_pt      cb;
    void                        *data;
    ngx_http_batch_index_script_t  *script;
    ngx_uint_t                   flags;
    char                         id[BATCH_ID_LEN];

    /* while it waits for the link */
    ngx_queue_t                  queue;
    ngx_http_batch_args_t       *args;       /* in their own pool */
} ngx_http_batch_index_op_t;


static ngx_int_t ngx_http_batch_index_eval(ngx_http_batch_index_op_t *op,
    ngx_http_batch_args_t *a);
static ngx_int_t ngx_http_batch_index_wait(ngx_http_batch_index_op_t *op,
    ngx_http_batch_args_t *a);
static void ngx_http_batch_index_waited(ngx_uint_t ready);
static void ngx_http_batch_index_reply(void *data, struct redisReply *reply);
static ngx_int_t ngx_http_batch_index_parse(ngx_http_batch_reply_e kind,
    struct redisReply *reply, ngx_http_batch_index_res_t *res, void **owned);
static ngx_int_t ngx_http_batch_index_items(struct redisReply *reply,
    ngx_http_batch_index_res_t *res, void **owned);
static ngx_int_t ngx_http_batch_index_views(struct redisReply *list,
    size_t n, ngx_http_batch_index_res_t *res, void **owned);
static ngx_int_t ngx_http_batch_index_claimed(struct redisReply *reply,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_index_trouble(ngx_http_batch_script_t *script,
    ngx_str_t *text);
#if (NGX_DEBUG)
static void ngx_http_batch_index_debug(ngx_http_batch_index_op_t *op,
    const char *what);
static void ngx_http_batch_index_debug_reply(ngx_http_batch_index_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);
#endif


void  (*ngx_http_batch_index_on_change)(const char *id);

static ngx_queue_t  ngx_http_batch_index_waiting;   /* the oldest first */
static ngx_uint_t   ngx_http_batch_index_nwaiting;


ngx_int_t
ngx_http_batch_index_send(ngx_http_batch_args_t *a,
    ngx_http_batch_index_pt cb, void *data)
{
    ngx_int_t                   rc;
    ngx_http_batch_index_op_t  *op;

    rc = NGX_ERROR;
    op = NULL;

    if (!a->failed) {
        op = ngx_calloc(sizeof(ngx_http_batch_index_op_t), ngx_cycle->log);
    }

    if (op != NULL) {
        op->cb = cb;
        op->data = data;
        op->script = a->script;
        op->flags = a->flags;
        ngx_cpystrn((u_char *) op->id, (u_char *) a->id, BATCH_ID_LEN);

        if (ngx_http_batch_index_wait(op, a) == NGX_OK) {
            return NGX_OK;
        }

        rc = ngx_http_batch_index_eval(op, a);
        if (rc != NGX_OK) {
            ngx_free(op);
        }
    }

    if (a->pool) {
        ngx_destroy_pool(a->pool);
    }

    return rc;
}


static ngx_int_t
ngx_http_batch_index_eval(ngx_http_batch_index_op_t *op,
    ngx_http_batch_args_t *a)
{
    ngx_http_batch_args_named(a);

    if (a->failed) {
        return NGX_ERROR;
    }

#if (NGX_DEBUG)
    ngx_http_batch_index_debug(op, "sent");
#endif

    return ngx_http_batch_redis_eval(&op->script->lua, a->nkeys, a->n, a->argv,
                                     ngx_http_batch_index_reply, op);
}


/*
 * After a reload the new workers take requests before their links are ready:
 * that is not a reason to answer a client 503.  NGX_OK: the pool belongs to the
 * call that waits; otherwise nothing has changed.
 */

static ngx_int_t
ngx_http_batch_index_wait(ngx_http_batch_index_op_t *op,
    ngx_http_batch_args_t *a)
{
    ngx_uint_t              i;
    ngx_http_batch_args_t  *args;

    if (ngx_http_batch_index_nwaiting == NGX_HTTP_BATCH_INDEX_WAITING
        || ngx_http_batch_link_wait(ngx_http_batch_index_waited) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    args = ngx_palloc(a->pool, sizeof(ngx_http_batch_args_t));
    if (args == NULL) {
        return NGX_ERROR;
    }

    *args = *a;

    for (i = 0; i < args->n; i++) {

        if (args->argv[i].len == 0) {
            continue;
        }

        args->argv[i].data = ngx_pstrdup(a->pool, &args->argv[i]);
        if (args->argv[i].data == NULL) {
            return NGX_ERROR;
        }
    }

    op->args = args;

#if (NGX_DEBUG)
    ngx_http_batch_index_debug(op, "waits for the worker's first link");
#endif

    if (ngx_http_batch_index_nwaiting++ == 0) {
        ngx_queue_init(&ngx_http_batch_index_waiting);
    }

    ngx_queue_insert_tail(&ngx_http_batch_index_waiting, &op->queue);

    return NGX_OK;
}


/* what has waited is sent, or called back */

static void
ngx_http_batch_index_waited(ngx_uint_t ready)
{
    ngx_int_t                   rc;
    ngx_queue_t                *q;
    ngx_http_batch_args_t      *a;
    ngx_http_batch_index_op_t  *op;

    while (ngx_http_batch_index_nwaiting) {
        q = ngx_queue_head(&ngx_http_batch_index_waiting);
        op = ngx_queue_data(q, ngx_http_batch_index_op_t, queue);

        ngx_queue_remove(q);
        ngx_http_batch_index_nwaiting--;

        a = op->args;
        rc = ready ? ngx_http_batch_index_eval(op, a) : NGX_ERROR;

        ngx_destroy_pool(a->pool);

        if (rc != NGX_OK) {
            ngx_http_batch_index_reply(op, NULL);
        }
    }
}


static void
ngx_http_batch_index_reply(void *data, struct redisReply *reply)
{
    void                        *owned;
    ngx_int_t                    rc;
    ngx_str_t                    text;
    ngx_http_batch_index_op_t   *op = data;
    ngx_http_batch_index_res_t   res;

    owned = NULL;
    ngx_memzero(&res, sizeof(ngx_http_batch_index_res_t));
    res.status = BATCH_STATUS_N;

    if (reply == NULL) {
        rc = NGX_ERROR;

    } else if (ngx_http_batch_reply_error(reply, &text)) {
        ngx_http_batch_index_trouble(&op->script->lua, &text);
        rc = NGX_ERROR;

    } else {
        rc = ngx_http_batch_index_parse(op->script->reply, reply, &res, &owned);
    }

#if (NGX_DEBUG)
    ngx_http_batch_index_debug_reply(op, rc, &res);
#endif

    if (rc == NGX_OK
        && op->flags & NGX_HTTP_BATCH_INDEX_CHANGED
        && ngx_http_batch_index_on_change)
    {
        ngx_http_batch_index_on_change(op->id);
    }

    if (op->cb) {
        op->cb(op->data, rc, &res);
    }

    if (owned) {
        ngx_free(owned);
    }

    ngx_free(op);
}


static ngx_int_t
ngx_http_batch_index_parse(ngx_http_batch_reply_e kind,
    struct redisReply *reply, ngx_http_batch_index_res_t *res, void **owned)
{
    int64_t             code;
    struct redisReply  *r;

    if (ngx_http_batch_reply_n(reply) == 0) {
        return NGX_ERROR;
    }

    code = ngx_http_batch_reply_code(ngx_http_batch_reply_at(reply, 0));
    r = ngx_http_batch_reply_at(reply, 1);

    if (kind == NGX_HTTP_BATCH_REPLY_STATUS) {
        res->status = ngx_http_batch_index_status_read(r);
    }

    if (kind == NGX_HTTP_BATCH_REPLY_USE) {
        res->over = (ngx_http_batch_over_e) ngx_http_batch_reply_int(r);
        res->used = (uint64_t) ngx_http_batch_reply_int(
                                         ngx_http_batch_reply_at(reply, 2));
        res->granted = ngx_http_batch_reply_int(
                                         ngx_http_batch_reply_at(reply, 3));
    }

    if (code != 0) {
        return code == 1 ? NGX_DECLINED : code == 2 ? NGX_BUSY : NGX_ERROR;
    }

    /* only lists have these */

    (void) ngx_http_batch_reply_str(ngx_http_batch_reply_at(reply, 3),
                                    &res->place.id);
    (void) ngx_http_batch_reply_str(ngx_http_batch_reply_at(reply, 4),
                                    &res->place.score);

    switch (kind) {

    case NGX_HTTP_BATCH_REPLY_STATUS:
        return res->status == BATCH_STATUS_N ? NGX_ERROR : NGX_OK;

    case NGX_HTTP_BATCH_REPLY_ITEMS:
        return ngx_http_batch_index_items(reply, res, owned);

    case NGX_HTTP_BATCH_REPLY_VIEW:
        return ngx_http_batch_index_views(reply, 1, res, owned);

    case NGX_HTTP_BATCH_REPLY_VIEWS:
        res->has_more = (ngx_http_batch_reply_int(r) != 0);
        r = ngx_http_batch_reply_at(reply, 2);

        if (!ngx_http_batch_reply_list(r)) {
            return NGX_ERROR;
        }

        return ngx_http_batch_index_views(r, ngx_http_batch_reply_n(r), res,
                                          owned);

    case NGX_HTTP_BATCH_REPLY_CLAIM:
        return ngx_http_batch_index_claimed(reply, res);

    default:
        return NGX_OK;
    }
}


static ngx_int_t
ngx_http_batch_index_items(struct redisReply *reply,
    ngx_http_batch_index_res_t *res, void **owned)
{
    size_t              i, n;
    struct redisReply  *list;

    res->cursor = ngx_http_batch_reply_int(ngx_http_batch_reply_at(reply, 1));
    res->has_more = (res->cursor != 0);

    list = ngx_http_batch_reply_at(reply, 2);

    if (!ngx_http_batch_reply_list(list)) {
        return NGX_ERROR;
    }

    n = ngx_http_batch_reply_n(list);

    if (n == 0) {
        return NGX_OK;
    }

    res->items = ngx_alloc(n * sizeof(ngx_str_t), ngx_cycle->log);
    if (res->items == NULL) {
        return NGX_ERROR;
    }

    *owned = res->items;
    res->n = n;

    for (i = 0; i < n; i++) {
        if (!ngx_http_batch_reply_str(ngx_http_batch_reply_at(list, i),
                                      &res->items[i])
            || res->items[i].len == 0)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* n views at the end of list: one call's code may stand before them */

static ngx_int_t
ngx_http_batch_index_views(struct redisReply *list, size_t n,
    ngx_http_batch_index_res_t *res, void **owned)
{
    size_t  i, first;

    if (n == 0) {
        return NGX_OK;
    }

    if (ngx_http_batch_reply_n(list) < n) {
        return NGX_ERROR;
    }

    first = ngx_http_batch_reply_n(list) - n;

    res->views = ngx_calloc(n * sizeof(ngx_http_batch_view_t), ngx_cycle->log);
    if (res->views == NULL) {
        return NGX_ERROR;
    }

    *owned = res->views;

    for (i = 0; i < n; i++) {
        if (ngx_http_batch_index_view_read(
                ngx_http_batch_reply_at(list, first + i), &res->views[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    res->n = n;
    res->view = res->views;
    res->status = res->views[0].status;

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_index_claimed(struct redisReply *reply,
    ngx_http_batch_index_res_t *res)
{
    int64_t     n[9];
    ngx_uint_t  i;

    if (ngx_http_batch_reply_n(reply) < 9) {
        return NGX_ERROR;
    }

    for (i = 0; i < 9; i++) {
        n[i] = ngx_http_batch_reply_int(ngx_http_batch_reply_at(reply, i));
    }

    if (n[1] < 0 || n[1] > NGX_HTTP_BATCH_CLAIM_GONE
        || n[2] < 0 || n[2] > UINT32_MAX || n[3] < 0 || n[3] > UINT32_MAX)
    {
        return NGX_ERROR;
    }

    res->claim = (ngx_http_batch_claim_e) n[1];
    res->chunk = (uint32_t) n[2];
    res->epoch = (uint32_t) n[3];
    res->status = ngx_http_batch_index_status_read(
                                         ngx_http_batch_reply_at(reply, 4));
    res->cancelling_at = n[5];
    res->finalizing_at = n[6];
    res->expired = (n[7] != 0);
    ngx_http_batch_index_run_clock(n[8]);

    return NGX_OK;
}


/*
 * A server in trouble refuses every call: saying it once a second is enough.
 * What the status machine forbids is our mistake, not the server's.
 */

static void
ngx_http_batch_index_trouble(ngx_http_batch_script_t *script, ngx_str_t *text)
{
    ngx_uint_t  level;

    static time_t  last;

    if (ngx_time() == last) {
        return;
    }

    last = ngx_time();

    level = NGX_LOG_ERR;

    if (ngx_strlcasestrn(text->data, text->data + text->len,
                         (u_char *) "illegal status of a batch",
                         sizeof("illegal status of a batch") - 1 - 1)
        != NULL)
    {
        level = NGX_LOG_ALERT;
    }

    ngx_log_error(level, ngx_cycle->log, 0,
                  "batch: redis refused %s: \"%V\"", script->name, text);
}


#if (NGX_DEBUG)

static void
ngx_http_batch_index_debug(ngx_http_batch_index_op_t *op, const char *what)
{
    if (op->id[0]) {
        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                       "batch: %s: index call %s %s", op->id,
                       op->script->lua.name, what);

    } else {
        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                       "batch: index call %s %s", op->script->lua.name, what);
    }
}


static void
ngx_http_batch_index_debug_reply(ngx_http_batch_index_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    const char      *what;
    batch_status_e   status;

    what = rc == NGX_OK ? "done" : rc == NGX_DECLINED ? "declined"
           : rc == NGX_BUSY ? "answered: the index is not filled" : "failed";

    ngx_http_batch_index_debug(op, what);

    if (rc == NGX_BUSY || rc == NGX_ERROR) {
        ngx_http_batch_index_status_forget();
        return;
    }

    status = res->status;

    /* a claim: a chunk runs again unknown to clients, see chunk_redo.lua */

    if (status == BATCH_IN_PROGRESS && res->finalizing_at) {
        status = BATCH_FINALIZING;
    }

    ngx_http_batch_index_status_seen(op->id, status, rc == NGX_OK
        && (op->flags & NGX_HTTP_BATCH_INDEX_FILLED)
           == NGX_HTTP_BATCH_INDEX_FILLED);
}

#endif
