/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Files, uploads and batches as clients see them: these functions append JSON
 * text, and may be called in threads.
 */

#ifndef _NGX_HTTP_BATCH_RENDER_H_INCLUDED_
#define _NGX_HTTP_BATCH_RENDER_H_INCLUDED_

#include "ngx_http_batch.h"
#include "ngx_http_batch_index.h"
#include "ngx_http_batch_object.h"


void ngx_http_batch_render_file(batch_text_t *t,
    const ngx_http_batch_file_t *f);
/* f: the file of a completed one */
void ngx_http_batch_render_upload(batch_text_t *t,
    const ngx_http_batch_upload_t *u, ngx_http_batch_upload_status_e status,
    const ngx_http_batch_file_t *f);
/* fills id, too.  NGX_ERROR: it is not a batch of ours, or there is no memory
 * (see ngx_http_batch_store_damaged()); nothing was written */
ngx_int_t ngx_http_batch_render_batch(batch_text_t *t,
    const ngx_http_batch_view_t *v, ngx_uint_t dialect, char id[BATCH_ID_LEN]);

/* {"object":"list","data":[ - and its end; first "": an empty page */
void ngx_http_batch_render_list(batch_text_t *t);
void ngx_http_batch_render_list_end(batch_text_t *t, const char *first,
    const char *last, ngx_uint_t has_more);


#endif /* _NGX_HTTP_BATCH_RENDER_H_INCLUDED_ */
