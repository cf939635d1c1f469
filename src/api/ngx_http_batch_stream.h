/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * An answer that is sent in pieces, each of them made when the one before has
 * been sent, so that it takes the memory of one piece however slowly it is read.
 * Its length is not known: it is chunked, or ends with the connection.
 *
 * If it cannot be continued, the connection is closed in the midst of it (the
 * stream is reset): a client never takes a part for the whole.
 */

#ifndef _NGX_HTTP_BATCH_STREAM_H_INCLUDED_
#define _NGX_HTTP_BATCH_STREAM_H_INCLUDED_

#include "ngx_http_batch_api.h"


typedef struct ngx_http_batch_stream_s  ngx_http_batch_stream_t;


/*
 * Sends op->text, which is empty afterwards.  NGX_OK: it has been sent; NGX_AGAIN:
 * next() will be called when it has; NGX_DONE: the op has ended, as it does
 * after the last piece.
 */
ngx_int_t ngx_http_batch_stream_send(ngx_http_batch_op_t *op, ngx_uint_t last,
    ngx_http_batch_op_pt next);

/* it cannot be continued; the op has ended */
ngx_int_t ngx_http_batch_stream_cut(ngx_http_batch_op_t *op);


#endif /* _NGX_HTTP_BATCH_STREAM_H_INCLUDED_ */
