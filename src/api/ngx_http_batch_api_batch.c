/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * GET /batches/{id}, and the look-up that the cancellation shares.
 */

#include "ngx_http_batch_api_batch.h"
#include "ngx_http_batch_final.h"
#include "ngx_http_batch_op.h"
#include "ngx_http_batch_render.h"
#include "ngx_http_batch_send.h"


static void ngx_http_batch_api_batch_show(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);
static void ngx_http_batch_api_batch_read(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_batch_rendered(ngx_http_batch_op_t *op);


ngx_int_t
ngx_http_batch_api_batch_found(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    json_t                 *root;
    ngx_uint_t              own;
    ngx_http_batch_meta_t   m;

    if (rc != NGX_OK) {
        return ngx_http_batch_op_not_found(op, BATCH_ID_BATCH);
    }

    if (ngx_http_batch_meta_decode(&m, res->view->meta.data,
                                   res->view->meta.len, &root)
        != NGX_OK)
    {
        return ngx_http_batch_op_malformed(op, "batch.json");
    }

    own = ngx_http_batch_op_owns(op, &m.tenant);

    op->at = m.created_us / 1000000;

    json_decref(root);

    if (!own) {
        return ngx_http_batch_op_not_found(op, BATCH_ID_BATCH);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_api_batch(ngx_http_request_t *r)
{
    return ngx_http_batch_op_find(r, BATCH_ID_BATCH,
                                  ngx_http_batch_api_batch_show);
}


static void
ngx_http_batch_api_batch_show(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (ngx_http_batch_api_batch_found(op, rc, res) == NGX_OK) {
        ngx_http_batch_api_batch_answer(op, res->view);
    }
}


void
ngx_http_batch_api_batch_answer(ngx_http_batch_op_t *op,
    const ngx_http_batch_view_t *v)
{
    ngx_http_batch_view_t  *copy;

    if (!ngx_http_batch_final_is_brief(&v->final)) {
        ngx_http_batch_op_batch(op, v);
        return;
    }

    /* the index's answer is valid during its callback only */

    copy = ngx_palloc(op->pool, sizeof(ngx_http_batch_view_t));

    if (copy) {
        *copy = *v;
        copy->meta.data = ngx_pstrdup(op->pool, (ngx_str_t *) &v->meta);
        copy->final.data = ngx_pstrdup(op->pool, (ngx_str_t *) &v->final);
        copy->model.data = ngx_pstrdup(op->pool, (ngx_str_t *) &v->model);
    }

    if (copy == NULL || copy->meta.data == NULL || copy->final.data == NULL
        || copy->model.data == NULL)
    {
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return;
    }

    op->data = copy;

    (void) ngx_http_batch_op_task(op, ngx_http_batch_api_batch_read,
                                  ngx_http_batch_api_batch_rendered);
}


/* what cannot be read was logged; the brief view says that there is more */

static void
ngx_http_batch_api_batch_read(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    char                     id[BATCH_ID_LEN];
    ngx_http_batch_view_t   *v;
    ngx_http_batch_final_t   final;

    v = op->data;

    if (ngx_http_batch_final_read(&final, op->id, log) == NGX_OK) {
        v->final = final.text;
    }

    op->rc = ngx_http_batch_render_batch(&op->text, v, op->conf->dialect, id);

    ngx_http_batch_final_free(&final);
}


static void
ngx_http_batch_api_batch_rendered(ngx_http_batch_op_t *op)
{
    if (op->rc != NGX_OK) {
        ngx_http_batch_op_failed(op);
        return;
    }

    ngx_http_batch_op_answer(op);
}
