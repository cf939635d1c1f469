/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Checks of parameters that several requests have, in the words of OpenAI's
 * service: NGX_OK, or NGX_DONE if the op was rejected.
 */

#ifndef _NGX_HTTP_BATCH_PARAM_H_INCLUDED_
#define _NGX_HTTP_BATCH_PARAM_H_INCLUDED_

#include "ngx_http_batch_op.h"
#include "batch_head.h"


#define NGX_HTTP_BATCH_PARAM_TTL_MIN  3600     /* expires_after, seconds */
#define NGX_HTTP_BATCH_PARAM_TTL_MAX  2592000


/* "Missing required parameter: '...'." */
ngx_int_t ngx_http_batch_param_missing(ngx_http_batch_op_t *op,
    const char *name);
/* "Invalid value: '...'. Supported values are: 'a', 'b', and 'c'."  Those
 * are n elements of size bytes, which begin with their name, an ngx_str_t. */
ngx_int_t ngx_http_batch_param_supported(ngx_http_batch_op_t *op,
    const char *name, const ngx_str_t *value, const void *values, ngx_uint_t n,
    size_t size);
/* "Invalid type for '...': expected <expected>, but got ... instead." */
ngx_int_t ngx_http_batch_param_type(ngx_http_batch_op_t *op, const char *name,
    const char *expected, const json_t *value);
/* "Invalid '...': string too long. Expected a string with maximum length ...";
 * len 0: how long it is is not known */
ngx_int_t ngx_http_batch_param_long(ngx_http_batch_op_t *op, const char *name,
    size_t max, size_t len);

/* a decimal integer between min and max, as text or as JSON (NULL: missing) */
ngx_int_t ngx_http_batch_param_int(ngx_http_batch_op_t *op, const char *name,
    const ngx_str_t *text, int64_t min, int64_t max, int64_t *n);
ngx_int_t ngx_http_batch_param_json_int(ngx_http_batch_op_t *op,
    const char *name, const json_t *value, int64_t min, int64_t max,
    int64_t *n);

/* the string of that name in op->root; *value of an optional one that is
 * missing or null has len 0.  max: of characters; 0 is for those that are not
 * kept, but compared. */
ngx_int_t ngx_http_batch_param_string(ngx_http_batch_op_t *op,
    const char *name, ngx_uint_t required, size_t max, ngx_str_t *value);

/* characters of valid UTF-8 */
size_t ngx_http_batch_param_chars(const char *p, size_t len);

/* {"anchor":"created_at","seconds":n}; ttl: of that name in op->root, if it is
 * there */
ngx_int_t ngx_http_batch_param_ttl(ngx_http_batch_op_t *op, const char *name,
    int64_t *seconds);
ngx_int_t ngx_http_batch_param_expires(ngx_http_batch_op_t *op,
    const char *name, const json_t *value, int64_t *seconds);
ngx_int_t ngx_http_batch_param_anchor(ngx_http_batch_op_t *op,
    const char *name, const ngx_str_t *value);

/* one of the purposes a client may give; *purpose is static */
ngx_int_t ngx_http_batch_param_purpose(ngx_http_batch_op_t *op,
    const ngx_str_t *value, ngx_str_t *purpose);

/* dialect tensorzero: the name ends with .jsonl */
ngx_int_t ngx_http_batch_param_suffix(ngx_http_batch_op_t *op,
    const char *name, const ngx_str_t *filename);

/* A batch's input that is not JSONL: OpenAI's sentence, and after it what is
 * wrong.  An empty file gets the sentence alone, as from OpenAI. */
ngx_int_t ngx_http_batch_param_not_jsonl(ngx_http_batch_op_t *op,
    const batch_head_t *head);


#endif /* _NGX_HTTP_BATCH_PARAM_H_INCLUDED_ */
