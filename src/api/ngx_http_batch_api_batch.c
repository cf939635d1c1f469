/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * GET /batches/{id}, and the look-up that the cancellation shares.
 */

#include "ngx_http_batch_api_batch.h"
#include "ngx_http_batch_op.h"
#include "ngx_http_batch_send.h"


static void ngx_http_batch_api_batch_show(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);


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
        ngx_http_batch_op_batch(op, res->view);
    }
}
