/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What is published is a promise: before its name is linked, its text is read
 * by the code that reads the object later.  What that code would refuse is
 * never committed: an alert is logged, and the operation fails like one whose
 * disk failed, with EIO, and is tried again.  In memory only: no call of the
 * disk is made, and none changes its place.
 */

#ifndef _NGX_HTTP_BATCH_REREAD_H_INCLUDED_
#define _NGX_HTTP_BATCH_REREAD_H_INCLUDED_

#include "ngx_http_batch_store.h"


/* kinds: those of ngx_http_batch_obj_e, and what is not an object by id */

#define NGX_HTTP_BATCH_REREAD_KEY      (NGX_HTTP_BATCH_UPLOAD_END + 1)
#define NGX_HTTP_BATCH_REREAD_VERSION  (NGX_HTTP_BATCH_UPLOAD_END + 2)
#define NGX_HTTP_BATCH_REREAD_N        (NGX_HTTP_BATCH_UPLOAD_END + 3)

/* data: the text without its checksum; name is for the log.  NGX_OK; NGX_ERROR
 * with EIO, or with NGX_ENOMEM if that could not be found out. */
ngx_int_t ngx_http_batch_reread(ngx_uint_t kind, const char *id,
    const char *name, const void *data, size_t len, ngx_log_t *log);

/* the same of a seal, which is not JSON */
ngx_int_t ngx_http_batch_reread_seal(const char *batch_id, uint32_t chunk,
    uint32_t epoch, const char *name, const void *data, size_t len,
    ngx_log_t *log);

#endif
