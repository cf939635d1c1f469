/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the formats of the store's objects share.  Other rooms do not include
 * this.
 */

#ifndef _NGX_HTTP_BATCH_OBJECT_INT_H_INCLUDED_
#define _NGX_HTTP_BATCH_OBJECT_INT_H_INCLUDED_

#include "ngx_http_batch_object.h"

/* an ngx_str_t * as the two arguments of json_pack()'s "s%" */
#define ngx_http_batch_object_s(s)                                            \
    (s)->len ? (char *) (s)->data : "", (s)->len

/* NGX_ERROR if it has a NUL; what is not UTF-8, json_pack() refuses.  A tenant
 * must come back as it was, or two of them could become one. */
ngx_int_t ngx_http_batch_object_text(const ngx_str_t *s);

/* a new reference; a file's name is only shown: what is not UTF-8, or a NUL,
 * becomes '?' */
json_t *ngx_http_batch_object_name(const ngx_str_t *s);

/* takes over the reference; data is NULL for NULL */
ngx_str_t ngx_http_batch_object_dump(json_t *object);

json_t *ngx_http_batch_object_load(const u_char *data, size_t len);

/* a missing string is an empty one, another type is an error */
ngx_int_t ngx_http_batch_object_string(json_t *object, const char *key,
    ngx_str_t *value);
ngx_int_t ngx_http_batch_object_id(json_t *object, batch_id_kind_e kind,
    char id[BATCH_ID_LEN]);
int64_t ngx_http_batch_object_int(json_t *object, const char *key);

/* after an error: the object could be read and not be used, if errno says so
 * (store_damaged()), which stays */
void ngx_http_batch_object_damaged(const char *id, const char *name,
    ngx_log_t *log);

#endif
