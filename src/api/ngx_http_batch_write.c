/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Values of the store into JSON text: a page of 100 batches as jansson's
 * objects is some 8000 allocations.  What needs more than copying is left to
 * jansson.
 */

#include "ngx_http_batch_api.h"


static void ngx_http_batch_write_dump(batch_text_t *t, json_t *value);


void
ngx_http_batch_write_real(batch_text_t *t, double x)
{
    json_t  *value;

    if (x == 0) {
        batch_text_literal(t, "0.0");
        return;
    }

    value = json_real(x);
    ngx_http_batch_write_dump(t, value);
    json_decref(value);
}


void
ngx_http_batch_write_str(batch_text_t *t, const char *s, size_t len)
{
    size_t   i;
    json_t  *value;

    for (i = 0; i < len; i++) {

        if ((u_char) s[i] < ' ' || (u_char) s[i] > '~' || s[i] == '"'
            || s[i] == '\\')
        {
            value = json_stringn(s, len);
            ngx_http_batch_write_dump(t, value);
            json_decref(value);
            return;
        }
    }

    batch_text_literal(t, "\"");
    batch_text_append(t, s, len);
    batch_text_literal(t, "\"");
}


void
ngx_http_batch_write_json(batch_text_t *t, json_t *value)
{
    if (value == NULL || json_is_null(value)) {
        batch_text_literal(t, "null");

    } else if (json_is_integer(value)) {
        batch_text_int(t, json_integer_value(value));

    } else if (json_is_string(value)) {
        ngx_http_batch_write_str(t, json_string_value(value),
                                 json_string_length(value));

    } else {
        ngx_http_batch_write_dump(t, value);
    }
}


static void
ngx_http_batch_write_dump(batch_text_t *t, json_t *value)
{
    size_t   len;
    u_char  *p;

    len = json_dumpb(value, NULL, 0, NGX_HTTP_BATCH_API_DUMP|JSON_ENCODE_ANY);

    p = len ? batch_text_room(t, len) : NULL;

    if (p == NULL) {
        t->failed = 1;
        return;
    }

    (void) json_dumpb(value, (char *) p, len,
                      NGX_HTTP_BATCH_API_DUMP|JSON_ENCODE_ANY);
    batch_text_wrote(t, len);
}
