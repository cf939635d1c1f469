/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What Idempotency-Keys have been used for:
 *
 *   <store>/keys/<SHA-1 of tenant and key>.<day>
 *   {"v":1,"at":<us>,"request":<SHA-1 of the request>,"object":"<manifest>"}
 *
 * A record is published before its object, and names all of it: a repeated
 * request, whose first one was cut short after the record, publishes the same
 * object with the same id.  The day (of UTC, in which the record was made) lets
 * a key be used anew without anything being replaced: a record is looked for
 * under today, yesterday and, should the clock have been set back, tomorrow,
 * and counts for 24 hours.
 *
 * Call these in a task; they log system errors, and errno is kept.
 */

#ifndef _NGX_HTTP_BATCH_KEYS_H_INCLUDED_
#define _NGX_HTTP_BATCH_KEYS_H_INCLUDED_

#include "ngx_http_batch_store.h"
#include <jansson.h>

#define NGX_HTTP_BATCH_KEY_TTL  86400             /* s */
#define NGX_HTTP_BATCH_KEY_MAX  (1024 * 1024)     /* of a record, bytes */

/* a record; the strings are those of its JSON */
typedef struct {
    int64_t       at;                             /* us */
    const char   *request;
    ngx_str_t     object;
} ngx_http_batch_key_t;

/*
 * Claims the key (40 hex digits) for the request (the same) that will make the
 * object.
 *   NGX_OK        the key is ours now, durably
 *   NGX_DONE      the same request has used it: *first is its object's text,
 *                 which *root holds
 *   NGX_DECLINED  another request has used it
 *   NGX_AGAIN     nobody has, and object is NULL: it is not claimed
 *   NGX_ERROR
 */
ngx_int_t ngx_http_batch_keys_claim(const char *key, const char *request,
    const ngx_str_t *object, ngx_str_t *first, json_t **root, ngx_log_t *log);

/* Looks only: as above, but NGX_AGAIN if the key is free. */
ngx_int_t ngx_http_batch_keys_peek(const char *key, const char *request,
    ngx_str_t *first, json_t **root, ngx_log_t *log);

/* of a record's text.  NGX_OK: *root is to be json_decref()ed; NGX_ERROR (see
 * ngx_http_batch_store_damaged()). */
ngx_int_t ngx_http_batch_keys_decode(ngx_http_batch_key_t *record,
    const u_char *data, size_t len, json_t **root);

/* deletes records that do not count any more */
ngx_int_t ngx_http_batch_keys_sweep(ngx_http_batch_sweep_dir_t *s,
    ngx_uint_t n, ngx_log_t *log);

#endif
