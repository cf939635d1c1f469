
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * JSON of the store: what its objects have in common.
 */


#include "ngx_http_batch_object.h"
#include "ngx_http_batch_object_int.h"
#include "ngx_http_batch_store.h"
#include "batch_utf8.h"

#include <ngx_sha1.h>


#define NGX_HTTP_BATCH_OBJECT_DIGITS  18     /* int64_t has room for these */

/* as BATCH_USAGE_MAX */
static const char  ngx_http_batch_object_max[] = "9007199254740991";


static json_t *ngx_http_batch_object_limited(const u_char *data, size_t len,
    size_t flags);
static ngx_uint_t ngx_http_batch_object_limit(u_char *p, u_char *last);
static u_char *ngx_http_batch_object_number(u_char *p, u_char *last,
    ngx_uint_t *n);


json_t *
ngx_http_batch_object_json(const u_char *data, size_t len, size_t flags)
{
    json_t  *root;

    /* jansson does not always tell an allocation that failed from a syntax
     * error */

    ngx_set_errno(0);

    root = json_loadb((const char *) data, len, flags, NULL);

    if (root == NULL && ngx_errno != NGX_ENOMEM) {
        ngx_set_errno(0);
        root = ngx_http_batch_object_limited(data, len, flags);
    }

    if (root || ngx_errno != NGX_ENOMEM) {
        ngx_set_errno(EBADMSG);
    }

    return root;
}


/*
 * jansson refuses a text with an integer that int64_t does not hold.  A client
 * may send one, and older modules wrote sums of tokens that nothing had
 * limited.  Such integers are read as the greatest that JSON holds exactly.
 */

static json_t *
ngx_http_batch_object_limited(const u_char *data, size_t len, size_t flags)
{
    u_char  *copy;
    json_t  *root;

    copy = malloc(len);

    if (copy == NULL) {
        ngx_set_errno(NGX_ENOMEM);
        return NULL;
    }

    ngx_memcpy(copy, data, len);

    root = NULL;

    if (ngx_http_batch_object_limit(copy, copy + len)) {
        root = json_loadb((const char *) copy, len, flags, NULL);
    }

    free(copy);

    return root;
}


/* returns how many there were */

static ngx_uint_t
ngx_http_batch_object_limit(u_char *p, u_char *last)
{
    ngx_uint_t  string, n;

    string = 0;
    n = 0;

    while (p < last) {

        if (*p == '"') {
            string = !string;

        } else if (string && *p == '\\') {
            p++;

        } else if (!string && *p >= '0' && *p <= '9') {
            p = ngx_http_batch_object_number(p, last, &n);
            continue;
        }

        p++;
    }

    return n;
}


/* p: its first digit; returns its end.  What is left of it becomes white
 * space. */

static u_char *
ngx_http_batch_object_number(u_char *p, u_char *last, ngx_uint_t *n)
{
    u_char      *begin;
    size_t       len;
    ngx_uint_t   integer;

    begin = p;
    integer = 1;

    while (p < last
           && ((*p >= '0' && *p <= '9') || (*p && ngx_strchr(".eE+-", *p))))
    {
        integer &= (*p >= '0' && *p <= '9');
        p++;
    }

    len = sizeof(ngx_http_batch_object_max) - 1;

    /* what begins with 0 is not JSON, and must not become it */

    if (integer && *begin != '0' && p - begin > NGX_HTTP_BATCH_OBJECT_DIGITS) {
        ngx_memcpy(begin, ngx_http_batch_object_max, len);
        ngx_memset(begin + len, ' ', p - begin - len);
        (*n)++;
    }

    return p;
}


json_t *
ngx_http_batch_object_load(const u_char *data, size_t len)
{
    if (data == NULL) {
        return NULL;
    }

    return ngx_http_batch_object_json(data, len, JSON_REJECT_DUPLICATES);
}


ngx_int_t
ngx_http_batch_object_string(json_t *object, const char *key,
    ngx_str_t *value)
{
    json_t  *s;

    s = json_object_get(object, key);

    if (s == NULL || json_is_null(s)) {
        ngx_str_set(value, "");
        return NGX_OK;
    }

    if (!json_is_string(s)) {
        return NGX_ERROR;
    }

    value->data = (u_char *) json_string_value(s);
    value->len = json_string_length(s);

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_object_id(json_t *object, batch_id_kind_e kind,
    char id[BATCH_ID_LEN])
{
    size_t       len;
    json_t      *s;
    const char  *p;

    s = json_object_get(object, "id");

    if (!json_is_string(s)) {
        return NGX_ERROR;
    }

    p = json_string_value(s);
    len = json_string_length(s);

    if (len >= BATCH_ID_LEN
        || !batch_id_check(kind, (const unsigned char *) p, len))
    {
        return NGX_ERROR;
    }

    ngx_memcpy(id, p, len + 1);

    return NGX_OK;
}


int64_t
ngx_http_batch_object_int(json_t *object, const char *key)
{
    return (int64_t) json_integer_value(json_object_get(object, key));
}


ngx_str_t
ngx_http_batch_object_dump(json_t *object)
{
    ngx_str_t  s;

    ngx_str_null(&s);

    if (object == NULL) {
        return s;
    }

    /* 15 digits: what was written as 0.2 stays 0.2 */

    s.data = (u_char *) json_dumps(object, JSON_COMPACT
                                           | JSON_REAL_PRECISION(15));
    json_decref(object);

    if (s.data != NULL) {
        s.len = ngx_strlen(s.data);
    }

    return s;
}


void
ngx_http_batch_object_damaged(const char *id, const char *name,
    ngx_log_t *log)
{
    ngx_err_t  err;

    err = ngx_errno;

    if (ngx_http_batch_store_damaged()) {
        ngx_log_error(NGX_LOG_ALERT, log, 0, "batch: %s: %s is damaged", id,
                      name);
        err = EBADMSG;
    }

    ngx_set_errno(err);
}


ngx_int_t
ngx_http_batch_object_text(const ngx_str_t *s)
{
    return memchr(s->data ? (char *) s->data : "", '\0', s->len) ? NGX_ERROR
                                                                 : NGX_OK;
}


json_t *
ngx_http_batch_object_name(const ngx_str_t *s)
{
    u_char  *name;
    json_t  *value;

    if (ngx_http_batch_object_text(s) == NGX_OK) {

        value = json_stringn(s->data ? (char *) s->data : "", s->len);

        if (value != NULL) {
            return value;
        }
    }

    name = ngx_alloc(s->len, ngx_cycle->log);
    if (name == NULL) {
        return NULL;
    }

    ngx_memcpy(name, s->data, s->len);
    batch_utf8_repair(name, s->len);

    value = json_stringn((const char *) name, s->len);
    ngx_free(name);

    return value;
}


ngx_str_t
ngx_http_batch_object_hook(const char *id, int64_t delivered_at)
{
    return ngx_http_batch_object_dump(json_pack("{s:i,s:s,s:I}",
                                      "v", NGX_HTTP_BATCH_FORMAT, "id", id,
                                      "delivered_at",
                                      (json_int_t) delivered_at));
}


void
ngx_http_batch_object_tenant_key(const ngx_str_t *tenant, char key[41])
{
    u_char      digest[20];
    ngx_sha1_t  sha1;

    if (tenant->len == 0) {
        ngx_memcpy(key, "0", 2);
        return;
    }

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, tenant->data, tenant->len);
    ngx_sha1_final(digest, &sha1);

    *ngx_hex_dump((u_char *) key, digest, 20) = '\0';
}
