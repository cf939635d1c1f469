/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * JSON text written as it is known: a page of 100 batches as jansson's objects
 * is some 8000 allocations.  What needs more than copying is left to jansson.
 */

#include "ngx_http_batch_api.h"


static u_char *ngx_http_batch_write_room(batch_text_t *w,
    size_t len);
static void ngx_http_batch_write_dump(batch_text_t *w,
    json_t *value);


/* room for len bytes and a NUL */

static u_char *
ngx_http_batch_write_room(batch_text_t *w, size_t len)
{
    char    *p;
    size_t   size;

    if (w->failed) {
        return NULL;
    }

    if (w->size - w->len > len) {
        return (u_char *) w->text + w->len;
    }

    size = ngx_max(w->size * 2, 4096);

    while (size - w->len <= len) {
        size *= 2;
    }

    p = realloc(w->text, size);
    if (p == NULL) {
        w->failed = 1;
        return NULL;
    }

    w->text = p;
    w->size = size;

    return (u_char *) w->text + w->len;
}


void
batch_text_append(ngx_http_batch_write_t *w, const char *p, size_t len)
{
    u_char  *dst;

    dst = ngx_http_batch_write_room(w, len);

    if (dst) {
        *ngx_cpymem(dst, p, len) = '\0';
        w->len += len;
    }
}


void
batch_text_int(ngx_http_batch_write_t *w, int64_t n)
{
    u_char  *p, buf[NGX_INT64_LEN];

    p = ngx_sprintf(buf, "%L", n);

    batch_text_append(w, (char *) buf, p - buf);
}


void
ngx_http_batch_write_real(batch_text_t *w, double x)
{
    json_t  *value;

    if (x == 0) {
        batch_text_literal(w, "0.0");
        return;
    }

    value = json_real(x);
    ngx_http_batch_write_dump(w, value);
    json_decref(value);
}


void
ngx_http_batch_write_str(batch_text_t *w, const char *s, size_t len)
{
    size_t   i;
    json_t  *value;

    for (i = 0; i < len; i++) {

        if ((u_char) s[i] < ' ' || (u_char) s[i] > '~' || s[i] == '"'
            || s[i] == '\\')
        {
            value = json_stringn(s, len);
            ngx_http_batch_write_dump(w, value);
            json_decref(value);
            return;
        }
    }

    batch_text_append(w, "\"", 1);
    batch_text_append(w, s, len);
    batch_text_append(w, "\"", 1);
}


void
ngx_http_batch_write_json(batch_text_t *w, json_t *value)
{
    if (value == NULL || json_is_null(value)) {
        batch_text_literal(w, "null");

    } else if (json_is_integer(value)) {
        batch_text_int(w, json_integer_value(value));

    } else if (json_is_string(value)) {
        ngx_http_batch_write_str(w, json_string_value(value),
                                 json_string_length(value));

    } else {
        ngx_http_batch_write_dump(w, value);
    }
}


static void
ngx_http_batch_write_dump(batch_text_t *w, json_t *value)
{
    size_t   len;
    u_char  *p;

    len = json_dumpb(value, NULL, 0, NGX_HTTP_BATCH_API_DUMP|JSON_ENCODE_ANY);

    p = len ? ngx_http_batch_write_room(w, len) : NULL;

    if (p == NULL) {
        w->failed = 1;
        return;
    }

    (void) json_dumpb(value, (char *) p, len,
                      NGX_HTTP_BATCH_API_DUMP|JSON_ENCODE_ANY);
    p[len] = '\0';
    w->len += len;
}


char *
batch_text_end(ngx_http_batch_write_t *w)
{
    if (w->failed) {
        free(w->text);
        w->text = NULL;
    }

    return w->text;
}
