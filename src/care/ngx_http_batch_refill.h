/*
 * What the store has, told to the index: one command of it at a time.
 */

#ifndef _NGX_HTTP_BATCH_REFILL_H_INCLUDED_
#define _NGX_HTTP_BATCH_REFILL_H_INCLUDED_

#include "ngx_http_batch_index.h"
#include "ngx_http_batch_restore.h"

/*
 * The item's next command; *step is 0 at first, and counted here.  NGX_OK: sent,
 * and sent() hears the answer, or gone() that of a command which also does with
 * an object that is not there (NGX_DECLINED).  NGX_DONE: no more, nothing was
 * sent.  NGX_ERROR: it could not be sent.
 */
ngx_int_t ngx_http_batch_refill(ngx_http_batch_item_t *item, size_t *step,
    ngx_http_batch_index_pt sent, ngx_http_batch_index_pt gone, void *data);

#endif
