/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The REST API: what a client's request is while it is served, and the
 * handlers that its method and path lead to.
 *
 * The files ngx_http_batch_api_*.c serve an endpoint each; the other files of
 * this room hold what endpoints share.
 */

#ifndef _NGX_HTTP_BATCH_API_H_INCLUDED_
#define _NGX_HTTP_BATCH_API_H_INCLUDED_

#include "ngx_http_batch_path.h"


#define NGX_HTTP_BATCH_API_JSON_MAX   65536    /* JSON request body, bytes */


typedef struct ngx_http_batch_op_s  ngx_http_batch_op_t;

typedef void (*ngx_http_batch_op_pt)(ngx_http_batch_op_t *op);


/* the module ctx of a client's request; from the request's pool */

typedef struct {
    ngx_uint_t                  kind;          /* NGX_HTTP_BATCH_CTX_API */
    batch_path_e                call;
    ngx_str_t                   id;            /* as in the path, unchecked */
    ngx_str_t                   tenant;
    ngx_str_t                   request_id;    /* 32 hex digits */
    ngx_http_batch_loc_conf_t  *conf;
    ngx_http_batch_op_t        *op;            /* that reads the body */
    ngx_table_elt_t            *cache;         /* Cache-Control of the answer */
    ngx_buf_t                  *page;          /* replaces nginx's own */
    unsigned                    headers:1;     /* of every answer: set */
    unsigned                    paged:1;       /* page was sent */
    unsigned                    cors:1;        /* its headers are set */
} ngx_http_batch_api_ctx_t;


/* content handler of a location with batch_api */
ngx_int_t ngx_http_batch_api_handler(ngx_http_request_t *r);

/* gives the request a ctx with an id; NULL: there is no memory */
ngx_http_batch_api_ctx_t *ngx_http_batch_api_create_ctx(
    ngx_http_request_t *r);

/* what Allow says of the request's path in its server, which need not have
 * found its location; NULL: the path is none of the API */
const ngx_str_t *ngx_http_batch_api_allow(ngx_http_request_t *r);


/* what the table of routes leads to */

ngx_int_t ngx_http_batch_api_list_files(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_list_batches(ngx_http_request_t *r);

ngx_int_t ngx_http_batch_api_file_create(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_file(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_file_delete(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_file_content(ngx_http_request_t *r);

ngx_int_t ngx_http_batch_api_upload_create(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_upload(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_upload_part(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_upload_complete(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_upload_cancel(ngx_http_request_t *r);

ngx_int_t ngx_http_batch_api_batch_create(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_batch(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_batch_cancel(ngx_http_request_t *r);


#endif /* _NGX_HTTP_BATCH_API_H_INCLUDED_ */
