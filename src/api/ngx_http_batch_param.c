/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Checks that several requests share, with the wording of OpenAI's service.
 */

#include "ngx_http_batch_api.h"


static const ngx_str_t  ngx_http_batch_purposes[] = {
    ngx_string("fine-tune"),
    ngx_string("assistants"),
    ngx_string("batch"),
    ngx_string("user_data"),
    ngx_string("vision"),
    ngx_string("evals")
};

#define NGX_HTTP_BATCH_PURPOSES                                               \
    (sizeof(ngx_http_batch_purposes) / sizeof(ngx_str_t))


const ngx_str_t  ngx_http_batch_purpose = ngx_string("batch");


static ngx_int_t ngx_http_batch_param_number(const u_char *p, size_t len,
    int64_t *n);
static const char *ngx_http_batch_param_type_name(const json_t *value);


/* any decimal integer; what is beyond 10^17 is as good as 10^17 */

static ngx_int_t
ngx_http_batch_param_number(const u_char *p, size_t len, int64_t *n)
{
    size_t      i;
    int64_t     v;
    ngx_uint_t  negative;

    negative = (len && *p == '-');

    if (negative) {
        p++;
        len--;
    }

    if (len == 0) {
        return NGX_ERROR;
    }

    v = 0;

    for (i = 0; i < len; i++) {

        if (p[i] < '0' || p[i] > '9') {
            return NGX_ERROR;
        }

        if (v < 100000000000000000) {
            v = v * 10 + (p[i] - '0');
        }
    }

    *n = negative ? -v : v;

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_param_int(ngx_http_batch_op_t *op, const char *name,
    const u_char *p, size_t len, int64_t min, int64_t max, int64_t *n)
{
    ngx_str_t  shown;

    if (ngx_http_batch_param_number(p, len, n) != NGX_OK) {
        ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, name,
                                 "invalid_type",
                                 "Invalid type for '%s': expected an integer, "
                                 "but got a string instead.", name);
        return NGX_DONE;
    }

    shown = ngx_http_batch_send_shown(p, len);

    if (*n < min) {
        ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, name,
                                 "integer_below_min_value",
                                 "Invalid '%s': integer below minimum value. "
                                 "Expected a value >= %L, but got %V instead.",
                                 name, min, &shown);
        return NGX_DONE;
    }

    if (*n > max) {
        ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, name,
                                 "integer_above_max_value",
                                 "Invalid '%s': integer above maximum value. "
                                 "Expected a value <= %L, but got %V instead.",
                                 name, max, &shown);
        return NGX_DONE;
    }

    return NGX_OK;
}


void
ngx_http_batch_param_supported(ngx_http_batch_op_t *op, const char *param,
    const u_char *value, size_t len, const ngx_str_t *values, ngx_uint_t n)
{
    u_char      *p, *last;
    ngx_str_t    shown;
    ngx_uint_t   i;
    const char  *sep;
    u_char       list[1024];

    p = list;
    last = list + sizeof(list);

    for (i = 0; i < n; i++) {

        if (i == 0) {
            sep = "";

        } else if (i + 1 < n) {
            sep = ", ";

        } else {
            sep = (n == 2) ? " and " : ", and ";
        }

        p = ngx_slprintf(p, last, "%s'%V'", sep, &values[i]);
    }

    shown = ngx_http_batch_send_shown(value, len);

    ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, param, "invalid_value",
                             "Invalid value: '%V'. Supported values are: "
                             "%*s.", &shown, (size_t) (p - list), list);
}


static const char *
ngx_http_batch_param_type_name(const json_t *value)
{
    switch (json_typeof(value)) {

    case JSON_OBJECT:
        return "an object";

    case JSON_ARRAY:
        return "an array";

    case JSON_STRING:
        return "a string";

    case JSON_INTEGER:
        return "an integer";

    case JSON_REAL:
        return "a decimal";

    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";

    default:
        return "null";
    }
}


void
ngx_http_batch_param_type(ngx_http_batch_op_t *op, const char *param,
    const char *expected, const json_t *value)
{
    ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, param, "invalid_type",
                             "Invalid type for '%s': expected %s, but got %s "
                             "instead.", param, expected,
                             ngx_http_batch_param_type_name(value));
}


void
ngx_http_batch_param_missing(ngx_http_batch_op_t *op, const char *param)
{
    ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, param,
                             "missing_required_parameter",
                             "Missing required parameter: '%s'.", param);
}


ngx_int_t
ngx_http_batch_param_anchor(ngx_http_batch_op_t *op, const char *param,
    const u_char *p, size_t len)
{
    static const ngx_str_t  anchor = ngx_string("created_at");

    if (len == anchor.len && ngx_memcmp(p, anchor.data, len) == 0) {
        return NGX_OK;
    }

    ngx_http_batch_param_supported(op, param, p, len, &anchor, 1);

    return NGX_DONE;
}


ngx_int_t
ngx_http_batch_param_expires(ngx_http_batch_op_t *op, const char *name,
    json_t *value, int64_t *seconds)
{
    u_char  *end;
    json_t  *v;
    u_char   text[NGX_INT64_LEN + 1];
    char     param[64];

    if (!json_is_object(value)) {
        ngx_http_batch_param_type(op, name, "an object", value);
        return NGX_DONE;
    }

    end = ngx_snprintf((u_char *) param, sizeof(param) - 1, "%s.anchor", name);
    *end = '\0';

    v = json_object_get(value, "anchor");

    if (v == NULL) {
        ngx_http_batch_param_missing(op, param);
        return NGX_DONE;
    }

    if (!json_is_string(v)) {
        ngx_http_batch_param_type(op, param, "a string", v);
        return NGX_DONE;
    }

    if (ngx_http_batch_param_anchor(op, param,
                                    (u_char *) json_string_value(v),
                                    json_string_length(v))
        != NGX_OK)
    {
        return NGX_DONE;
    }

    end = ngx_snprintf((u_char *) param, sizeof(param) - 1, "%s.seconds",
                       name);
    *end = '\0';

    v = json_object_get(value, "seconds");

    if (v == NULL) {
        ngx_http_batch_param_missing(op, param);
        return NGX_DONE;
    }

    if (!json_is_integer(v)) {
        ngx_http_batch_param_type(op, param, "an integer", v);
        return NGX_DONE;
    }

    end = ngx_sprintf(text, "%L", (int64_t) json_integer_value(v));

    return ngx_http_batch_param_int(op, param, text, end - text,
                                    NGX_HTTP_BATCH_TTL_MIN,
                                    NGX_HTTP_BATCH_TTL_MAX, seconds);
}


ngx_int_t
ngx_http_batch_param_string(ngx_http_batch_op_t *op, const char *name,
    ngx_uint_t required, ngx_str_t *value)
{
    json_t  *v;

    v = json_object_get(op->root, name);

    if (v == NULL || (json_is_null(v) && !required)) {

        if (required) {
            ngx_http_batch_param_missing(op, name);
            return NGX_DONE;
        }

        ngx_str_null(value);
        return NGX_OK;
    }

    if (!json_is_string(v)) {
        ngx_http_batch_param_type(op, name, "a string", v);
        return NGX_DONE;
    }

    value->data = (u_char *) json_string_value(v);
    value->len = json_string_length(v);

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_param_purpose(ngx_http_batch_op_t *op, const u_char *p,
    size_t len, ngx_str_t *purpose)
{
    ngx_str_t   shown;
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_BATCH_PURPOSES; i++) {
        if (len == ngx_http_batch_purposes[i].len
            && ngx_memcmp(p, ngx_http_batch_purposes[i].data, len) == 0)
        {
            *purpose = ngx_http_batch_purposes[i];

            if (op->conf->dialect == NGX_HTTP_BATCH_TENSORZERO
                && !ngx_http_batch_for_batch(purpose))
            {
                ngx_http_batch_param_supported(op, "purpose", p, len,
                                               &ngx_http_batch_purpose, 1);
                return NGX_DONE;
            }

            return NGX_OK;
        }
    }

    shown = ngx_http_batch_send_shown(p, len);

    ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, "purpose", NULL,
                             "'%V' is not one of ['fine-tune', 'assistants', "
                             "'batch', 'user_data', 'vision', 'evals'] - "
                             "'purpose'", &shown);
    return NGX_DONE;
}


ngx_int_t
ngx_http_batch_param_suffix(ngx_http_batch_op_t *op, const char *param,
    const ngx_str_t *name)
{
    if (op->conf->dialect != NGX_HTTP_BATCH_TENSORZERO) {
        return NGX_OK;
    }

    if (name->len > 6
        && ngx_strncmp(name->data + name->len - 6, ".jsonl", 6) == 0)
    {
        return NGX_OK;
    }

    ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, param, "invalid_value",
                             "Invalid '%s': the name of the file must end "
                             "with .jsonl.", param);
    return NGX_DONE;
}


ngx_uint_t
ngx_http_batch_param_jsonl(u_char *p, size_t len)
{
    u_char      *last, *nl;
    size_t       mark;
    ngx_uint_t   cut;

    if (len == 0) {
        return 0;
    }

    last = p + len;
    cut = 0;

    /* of the file's first line, which may be blank behind it */

    mark = (len >= 3 && ngx_memcmp(p, "\xef\xbb\xbf", 3) == 0) ? 3 : 0;

    if (len > NGX_HTTP_BATCH_PARAM_HEAD) {
        last = p + NGX_HTTP_BATCH_PARAM_HEAD;
        cut = 1;
    }

    for ( ;; ) {
        nl = ngx_strlchr(p, last, '\n');

        if (nl == NULL) {
            break;
        }

        if (!batch_jsonl_blank(p + mark, nl - p - mark)) {
            return batch_jsonl_object(p, nl - p, 1);
        }

        p = nl + 1;
        mark = 0;
    }

    if (batch_jsonl_blank(p + mark, last - p - mark)) {
        /* nothing but white space so far: validation will tell */
        return cut;
    }

    return batch_jsonl_object(p, last - p, !cut);
}
