/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the endpoints of batches share.
 */

#ifndef _NGX_HTTP_BATCH_API_BATCH_H_INCLUDED_
#define _NGX_HTTP_BATCH_API_BATCH_H_INCLUDED_

#include "ngx_http_batch_op.h"


/* after ngx_http_batch_op_find(): NGX_OK with op->at, when the batch was
 * created, or the op has ended with the 404 of unknown and foreign batches */
ngx_int_t ngx_http_batch_api_batch_found(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);

/* 200 with op->id's batch, of which the index may have a brief view only: then
 * final.json is read in a thread */
void ngx_http_batch_api_batch_answer(ngx_http_batch_op_t *op,
    const ngx_http_batch_view_t *v);


/* ngx_http_batch_api_batch_params.c */

/* fills op->meta from the body, whose reference op->root holds; NGX_OK, or
 * NGX_DONE if the op was rejected */
ngx_int_t ngx_http_batch_api_batch_params(ngx_http_batch_op_t *op);
/* dialect impala: 404, or next() if the batch's input file is there */
void ngx_http_batch_api_batch_params_input(ngx_http_batch_op_t *op,
    ngx_http_batch_op_pt next);


#endif /* _NGX_HTTP_BATCH_API_BATCH_H_INCLUDED_ */
