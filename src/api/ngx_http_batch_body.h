/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Request bodies, piece by piece as they arrive, or as one JSON object.
 */

#ifndef _NGX_HTTP_BATCH_BODY_H_INCLUDED_
#define _NGX_HTTP_BATCH_BODY_H_INCLUDED_

#include "ngx_http_batch_api.h"


/*
 * Takes a piece of the body, advancing *pos.  NGX_OK: all was taken;
 * NGX_AGAIN: a task is pending, call again with the rest after it (also if
 * *pos == last); NGX_DONE: the request was answered, the op may be gone.
 */
typedef ngx_int_t (*ngx_http_batch_body_take_pt)(ngx_http_batch_op_t *op,
    u_char **pos, u_char *last);


typedef struct {
    ngx_http_batch_body_take_pt  take;
    ngx_http_batch_op_pt         end;          /* all of it was taken */

    /* of a body that lies in a file */
    ngx_fd_t                     fd;
    u_char                      *piece;
    u_char                      *piece_pos;
    u_char                      *piece_last;
    off_t                        piece_off;    /* in the file, bytes */
    size_t                       piece_size;

    /* of a JSON body */
    ngx_buf_t                   *json;         /* as it came */
    size_t                       json_max;     /* bytes */
    ngx_http_batch_op_pt         parsed;

    unsigned                     again:1;      /* take() returned NGX_AGAIN */
} ngx_http_batch_body_t;


/* reads the body into op->body.take(), then op->body.end(); these and
 * op->abandon must be set */
void ngx_http_batch_body_start(ngx_http_batch_op_t *op);
void ngx_http_batch_body_resume(ngx_http_batch_op_t *op);

/*
 * Reads a JSON object of at most max bytes into op->root, then parsed(op); a
 * content handler returns what this returns.  op->abandon destroys the op; a
 * handler sets it to NULL before it publishes something.
 */
ngx_int_t ngx_http_batch_body_json(ngx_http_request_t *r, size_t max,
    ngx_http_batch_op_pt parsed);

/* NGX_OK, or NGX_DONE if the op was rejected: the body is compressed */
ngx_int_t ngx_http_batch_body_encoded(ngx_http_batch_op_t *op);


#endif /* _NGX_HTTP_BATCH_BODY_H_INCLUDED_ */
