/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * GET /files and GET /batches.  A page may hold 10000 manifests, so a page of
 * more than a few objects is made into JSON by a thread.
 */

#include "ngx_http_batch_op.h"
#include "ngx_http_batch_param.h"
#include "ngx_http_batch_purpose.h"
#include "ngx_http_batch_render.h"
#include "ngx_http_batch_store.h"


#define NGX_HTTP_BATCH_LIST_INLINE  16       /* objects rendered at once */
#define NGX_HTTP_BATCH_LIST_FILES   10000
#define NGX_HTTP_BATCH_LIST_BATCHES 100


/* from the op's pool */

typedef struct {
    batch_id_kind_e         kind;
    ngx_uint_t              dialect;
    int64_t                 limit;
    ngx_uint_t              asc;
    ngx_str_t               after;
    ngx_str_t               purpose;

    size_t                  n;
    ngx_http_batch_view_t  *views;           /* of files: meta alone */
    ngx_uint_t              has_more;
    int64_t                 now;             /* seconds */
    ngx_uint_t              empty;           /* nothing of the page was left */
    char                    last[BATCH_ID_LEN];
} ngx_http_batch_api_list_t;


static ngx_int_t ngx_http_batch_api_list_create(ngx_http_request_t *r,
    batch_id_kind_e kind);
static ngx_uint_t ngx_http_batch_api_list_purpose(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_list_args(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_list_arg(ngx_http_batch_op_t *op,
    const char *name, ngx_str_t *value);
static void ngx_http_batch_api_list_page(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_list_step(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static ngx_int_t ngx_http_batch_api_list_copy(ngx_http_batch_op_t *op,
    ngx_http_batch_index_res_t *res);
static ngx_int_t ngx_http_batch_api_list_str(ngx_pool_t *pool, ngx_str_t *dst,
    const ngx_str_t *src);
static void ngx_http_batch_api_list_run(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_api_list_item(ngx_http_batch_api_list_t *list,
    size_t i, batch_text_t *t, char id[BATCH_ID_LEN]);
static void ngx_http_batch_api_list_done(ngx_http_batch_op_t *op);


static const ngx_str_t  ngx_http_batch_list_orders[] = {
    ngx_string("asc"),
    ngx_string("desc")
};


ngx_int_t
ngx_http_batch_api_list_files(ngx_http_request_t *r)
{
    return ngx_http_batch_api_list_create(r, BATCH_ID_FILE);
}


ngx_int_t
ngx_http_batch_api_list_batches(ngx_http_request_t *r)
{
    return ngx_http_batch_api_list_create(r, BATCH_ID_BATCH);
}


static ngx_int_t
ngx_http_batch_api_list_create(ngx_http_request_t *r, batch_id_kind_e kind)
{
    ngx_http_batch_op_t        *op;
    ngx_http_batch_api_list_t  *list;

    op = ngx_http_batch_op_create(r);
    if (op == NULL) {
        return NGX_ERROR;
    }

    list = ngx_pcalloc(op->pool, sizeof(ngx_http_batch_api_list_t));
    if (list == NULL) {
        return ngx_http_batch_op_unavailable(op, NGX_ERROR);
    }

    list->kind = kind;
    list->dialect = op->conf->dialect;
    list->limit = (kind == BATCH_ID_FILE) ? NGX_HTTP_BATCH_LIST_FILES : 20;
    list->now = batch_clock_sec();
    op->data = list;

    if (ngx_http_batch_api_list_args(op) != NGX_OK) {
        return NGX_DONE;
    }

    /* what cannot be found needs no look-up; an unknown "after" is an empty
     * page, too: clients that page by id rely on it */

    if (list->limit == 0
        || (list->after.len
            && !batch_id_check(kind, list->after.data, list->after.len))
        || !ngx_http_batch_api_list_purpose(op))
    {
        ngx_http_batch_api_list_run(op, ngx_cycle->log);
        ngx_http_batch_op_answer(op);
        return NGX_DONE;
    }

    ngx_http_batch_api_list_page(op);

    return NGX_DONE;
}


/* 1: there may be files of it, or any purpose is asked for */

static ngx_uint_t
ngx_http_batch_api_list_purpose(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_list_t       *list;
    const ngx_http_batch_purpose_t  *purpose;

    list = op->data;

    if (list->purpose.len == 0) {
        return 1;
    }

    purpose = ngx_http_batch_purpose_find(&list->purpose, op->conf->lines);

    if (purpose) {
        list->purpose = purpose->name;
    }

    return purpose != NULL;
}


static ngx_int_t
ngx_http_batch_api_list_args(ngx_http_batch_op_t *op)
{
    int64_t                     max;
    ngx_int_t                   rc;
    ngx_str_t                   value;
    ngx_http_batch_api_list_t  *list;

    list = op->data;

    rc = ngx_http_batch_api_list_arg(op, "limit", &value);

    if (rc == NGX_OK) {
        max = (list->kind == BATCH_ID_FILE) ? NGX_HTTP_BATCH_LIST_FILES
                                            : NGX_HTTP_BATCH_LIST_BATCHES;

        rc = ngx_http_batch_param_int(op, "limit", &value, 0, max,
                                      &list->limit);
    }

    if (rc == NGX_DONE) {
        return NGX_DONE;
    }

    if (ngx_http_batch_api_list_arg(op, "after", &list->after) == NGX_DONE) {
        return NGX_DONE;
    }

    if (list->kind != BATCH_ID_FILE) {
        return NGX_OK;
    }

    if (ngx_http_batch_api_list_arg(op, "purpose", &list->purpose)
        == NGX_DONE)
    {
        return NGX_DONE;
    }

    rc = ngx_http_batch_api_list_arg(op, "order", &value);

    if (rc == NGX_OK) {

        if (value.len == 3 && ngx_strncmp(value.data, "asc", 3) == 0) {
            list->asc = 1;

        } else if (value.len != 4 || ngx_strncmp(value.data, "desc", 4) != 0) {
            return ngx_http_batch_param_supported(op, "order", &value,
                                                  ngx_http_batch_list_orders,
                                                  2, sizeof(ngx_str_t));
        }
    }

    return (rc == NGX_DONE) ? NGX_DONE : NGX_OK;
}


/* a decoded query argument; NGX_DECLINED if there is none, NGX_DONE if the op
 * has ended */

static ngx_int_t
ngx_http_batch_api_list_arg(ngx_http_batch_op_t *op, const char *name,
    ngx_str_t *value)
{
    u_char     *src, *dst;
    ngx_str_t   raw;

    ngx_str_null(value);

    if (ngx_http_arg(op->r, (u_char *) name, ngx_strlen(name), &raw)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    value->data = ngx_pnalloc(op->pool, raw.len + 1);
    if (value->data == NULL) {
        return ngx_http_batch_op_unavailable(op, NGX_ERROR);
    }

    src = raw.data;
    dst = value->data;

    ngx_unescape_uri(&dst, &src, raw.len, 0);

    value->len = dst - value->data;

    return NGX_OK;
}


static void
ngx_http_batch_api_list_page(ngx_http_batch_op_t *op)
{
    ngx_int_t                   rc;
    ngx_http_batch_api_list_t  *list;

    list = op->data;


    if (list->kind == BATCH_ID_FILE) {
        rc = ngx_http_batch_index_file_list(&op->tenant, &list->purpose,
                                            &list->after, list->limit,
                                            list->asc,
                                            ngx_http_batch_op_index, op);

    } else {
        rc = ngx_http_batch_index_batch_list(&op->tenant, &list->after,
                                             list->limit,
                                             ngx_http_batch_op_index, op);
    }

    ngx_http_batch_op_wait(op, ngx_http_batch_api_list_step, rc);
}


static void
ngx_http_batch_api_list_step(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_api_list_t *list = op->data;

    list->n = 0;
    list->has_more = 0;

    if (rc == NGX_OK && ngx_http_batch_api_list_copy(op, res) != NGX_OK) {
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return;
    }

    if (list->n > NGX_HTTP_BATCH_LIST_INLINE) {
        (void) ngx_http_batch_op_task(op, ngx_http_batch_api_list_run,
                                      ngx_http_batch_api_list_done);
        return;
    }

    ngx_http_batch_api_list_run(op, ngx_cycle->log);
    ngx_http_batch_api_list_done(op);
}


/* the index's answer is valid during its callback only */

static ngx_int_t
ngx_http_batch_api_list_copy(ngx_http_batch_op_t *op,
    ngx_http_batch_index_res_t *res)
{
    size_t                      i;
    ngx_http_batch_view_t      *v;
    ngx_http_batch_api_list_t  *list;

    list = op->data;

    list->views = ngx_pcalloc(op->pool,
                              (res->n + 1) * sizeof(ngx_http_batch_view_t));
    if (list->views == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < res->n; i++) {
        v = &list->views[i];

        if (list->kind == BATCH_ID_FILE) {

            if (ngx_http_batch_api_list_str(op->pool, &v->meta, &res->items[i])
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            continue;
        }

        *v = res->views[i];

        if (ngx_http_batch_api_list_str(op->pool, &v->meta,
                                        &res->views[i].meta)
            != NGX_OK
            || ngx_http_batch_api_list_str(op->pool, &v->final,
                                           &res->views[i].final)
               != NGX_OK
            || ngx_http_batch_api_list_str(op->pool, &v->model,
                                           &res->views[i].model)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    list->n = res->n;
    list->has_more = res->has_more;

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_api_list_str(ngx_pool_t *pool, ngx_str_t *dst,
    const ngx_str_t *src)
{
    dst->len = src->len;
    dst->data = ngx_pstrdup(pool, (ngx_str_t *) src);

    return dst->data ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_batch_api_list_run(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    char                        first[BATCH_ID_LEN], last[BATCH_ID_LEN];
    size_t                      i, before;
    ngx_int_t                   rc;
    batch_text_t               *t;
    ngx_http_batch_api_list_t  *list;

    list = op->data;
    t = &op->text;

    first[0] = '\0';
    last[0] = '\0';

    ngx_http_batch_render_list(t);

    for (i = 0; i < list->n; i++) {

        before = t->len;

        if (first[0]) {
            batch_text_literal(t, ",");
        }

        rc = ngx_http_batch_api_list_item(list, i, t, last);

        if (rc == NGX_OK) {
            if (first[0] == '\0') {
                ngx_memcpy(first, last, BATCH_ID_LEN);
            }

            continue;
        }

        t->len = before;

        if (rc == NGX_ERROR && !ngx_http_batch_store_damaged()) {

            /* no memory for the object: a page without it would be wrong */

            t->failed = 1;
            break;
        }

        if (rc == NGX_ERROR) {
            ngx_log_error(NGX_LOG_ALERT, log, 0,
                          "batch: malformed manifest in the index, left out "
                          "of a list");
        }
    }

    list->empty = (first[0] == '\0');

    ngx_http_batch_render_list_end(t, first, last, list->has_more);
}


/* NGX_OK with its id; NGX_DECLINED: an expired file, left out; NGX_ERROR: not
 * a manifest of ours, or no memory (see ngx_http_batch_store_damaged()) */

static ngx_int_t
ngx_http_batch_api_list_item(ngx_http_batch_api_list_t *list, size_t i,
    batch_text_t *t, char id[BATCH_ID_LEN])
{
    json_t                 *root;
    ngx_int_t               rc;
    ngx_http_batch_file_t   f;
    ngx_http_batch_view_t  *v;

    v = &list->views[i];

    if (list->kind == BATCH_ID_BATCH) {
        return ngx_http_batch_render_batch(t, v, list->dialect, id);
    }

    if (ngx_http_batch_file_decode(&f, v->meta.data, v->meta.len, &root)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn((u_char *) list->last, (u_char *) f.id, BATCH_ID_LEN);

    rc = NGX_DECLINED;

    if (f.expires_at == 0 || f.expires_at > list->now) {
        ngx_http_batch_render_file(t, &f);
        ngx_memcpy(id, f.id, BATCH_ID_LEN);
        rc = NGX_OK;
    }

    json_decref(root);

    return rc;
}


static void
ngx_http_batch_api_list_done(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_list_t *list = op->data;

    /* all files of the page have expired, but there are more: an empty page
     * would end a client's loop */

    if (op->r && list->kind == BATCH_ID_FILE && list->empty && list->has_more
        && list->last[0]
        && (list->after.len != ngx_strlen(list->last)
            || ngx_strncmp(list->after.data, list->last, list->after.len)
               != 0))
    {
        batch_text_free(&op->text);

        list->after.data = ngx_pnalloc(op->pool, BATCH_ID_LEN);
        if (list->after.data == NULL) {
            ngx_http_batch_op_unavailable(op, NGX_ERROR);
            return;
        }

        (void) ngx_cpystrn(list->after.data, (u_char *) list->last,
                           BATCH_ID_LEN);
        list->after.len = ngx_strlen(list->last);
        list->last[0] = '\0';

        ngx_http_batch_api_list_page(op);
        return;
    }

    ngx_http_batch_op_answer(op);
}
