/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the store has, told to the index: one command of it at a time.
 */

#ifndef _NGX_HTTP_BATCH_REFILL_H_INCLUDED_
#define _NGX_HTTP_BATCH_REFILL_H_INCLUDED_

#include "ngx_http_batch_index.h"
#include "ngx_http_batch_restore.h"

/*
 * Sends the item's next command; *step is 0 at first, and counted here.
 * NGX_OK: sent() gets the answer, or gone(), if an object that is not there
 * does as well (NGX_DECLINED).  NGX_DONE: there is no more, nothing was sent.
 * NGX_ERROR: it could not be sent.
 */
ngx_int_t ngx_http_batch_refill(ngx_http_batch_item_t *item, size_t *step,
    ngx_http_batch_index_pt sent, ngx_http_batch_index_pt gone, void *data);

#endif
