/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Checks of parameters that several requests have, in the words of OpenAI's
 * service.
 */

#include "ngx_http_batch_param.h"
#include "ngx_http_batch_purpose.h"
#include "ngx_http_batch_send.h"


#define NGX_HTTP_BATCH_PARAM_JSONL                                            \
    "Invalid file format for Batch API. Must be .jsonl"


static ngx_int_t ngx_http_batch_param_number(const u_char *p, size_t len,
    int64_t *n);
static ngx_int_t ngx_http_batch_param_range(ngx_http_batch_op_t *op,
    const char *name, int64_t n, const ngx_str_t *text, int64_t min,
    int64_t max);
static ngx_int_t ngx_http_batch_param_text(ngx_http_batch_op_t *op,
    const char *name, const json_t *value, ngx_str_t *text);
static ngx_int_t ngx_http_batch_param_length(ngx_http_batch_op_t *op,
    const char *name, size_t max, const ngx_str_t *text);
static void ngx_http_batch_param_key(char *param, size_t size,
    const char *name, const char *key);


ngx_int_t
ngx_http_batch_param_missing(ngx_http_batch_op_t *op, const char *name)
{
    return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, name,
                                    "missing_required_parameter",
                                    "Missing required parameter: '%s'.", name);
}


ngx_int_t
ngx_http_batch_param_supported(ngx_http_batch_op_t *op, const char *name,
    const ngx_str_t *value, const void *values, ngx_uint_t n, size_t size)
{
    u_char      *p, *last;
    ngx_uint_t      i;
    const char     *sep;
    batch_shown_t   shown;
    u_char          list[1024];

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

        p = ngx_slprintf(p, last, "%s'%V'", sep,
                         (const ngx_str_t *) ((u_char *) values + i * size));
    }

    return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, name,
                                    "invalid_value",
                                    "Invalid value: '%s'. Supported values "
                                    "are: %*s.",
                                    batch_shown(&shown, value->data,
                                                value->len),
                                    (size_t) (p - list), list);
}


ngx_int_t
ngx_http_batch_param_type(ngx_http_batch_op_t *op, const char *name,
    const char *expected, const json_t *value)
{
    /* by json_type */
    static const char  *types[] = {
        "an object", "an array", "a string", "an integer", "a decimal",
        "a boolean", "a boolean", "null"
    };

    return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, name,
                                    "invalid_type",
                                    "Invalid type for '%s': expected %s, but "
                                    "got %s instead.", name, expected,
                                    types[json_typeof(value)]);
}


ngx_int_t
ngx_http_batch_param_long(ngx_http_batch_op_t *op, const char *name,
    size_t max, size_t len)
{
    return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, name,
                                    "string_above_max_length", len
                                    ? "Invalid '%s': string too long. "
                                      "Expected a string with maximum length "
                                      "%uz, but got a string with length %uz "
                                      "instead."
                                    : "Invalid '%s': string too long. "
                                      "Expected a string with maximum length "
                                      "%uz.", name, max, len);
}


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
    const ngx_str_t *text, int64_t min, int64_t max, int64_t *n)
{
    if (ngx_http_batch_param_number(text->data, text->len, n) != NGX_OK) {
        return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, name,
                                        "invalid_type",
                                        "Invalid type for '%s': expected an "
                                        "integer, but got a string instead.",
                                        name);
    }

    return ngx_http_batch_param_range(op, name, *n, text, min, max);
}


ngx_int_t
ngx_http_batch_param_json_int(ngx_http_batch_op_t *op, const char *name,
    const json_t *value, int64_t min, int64_t max, int64_t *n)
{
    char       text[NGX_INT64_LEN + 1];
    ngx_str_t  shown;

    if (value == NULL) {
        return ngx_http_batch_param_missing(op, name);
    }

    if (!json_is_integer(value)) {
        return ngx_http_batch_param_type(op, name, "an integer", value);
    }

    *n = json_integer_value(value);

    /* not nginx's "%L", which negates the least integer */

    shown.data = (u_char *) text;
    shown.len = snprintf(text, sizeof(text), "%" PRId64, *n);

    return ngx_http_batch_param_range(op, name, *n, &shown, min, max);
}


static ngx_int_t
ngx_http_batch_param_range(ngx_http_batch_op_t *op, const char *name,
    int64_t n, const ngx_str_t *text, int64_t min, int64_t max)
{
    batch_shown_t  shown;

    if (n >= min && n <= max) {
        return NGX_OK;
    }

    return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, name,
                                    n < min ? "integer_below_min_value"
                                            : "integer_above_max_value",
                                    "Invalid '%s': integer %s value. Expected "
                                    "a value %s %L, but got %s instead.",
                                    name,
                                    n < min ? "below minimum"
                                            : "above maximum",
                                    n < min ? ">=" : "<=",
                                    n < min ? min : max,
                                    batch_shown(&shown, text->data,
                                                text->len));
}


ngx_int_t
ngx_http_batch_param_string(ngx_http_batch_op_t *op, const char *name,
    ngx_uint_t required, size_t max, ngx_str_t *value)
{
    json_t  *v;

    v = json_object_get(op->root, name);

    if ((v == NULL || json_is_null(v)) && !required) {
        ngx_str_null(value);
        return NGX_OK;
    }

    if (ngx_http_batch_param_text(op, name, v, value) != NGX_OK) {
        return NGX_DONE;
    }

    return max ? ngx_http_batch_param_length(op, name, max, value) : NGX_OK;
}


/* in characters */

static ngx_int_t
ngx_http_batch_param_length(ngx_http_batch_op_t *op, const char *name,
    size_t max, const ngx_str_t *text)
{
    size_t  n;

    n = ngx_http_batch_param_chars((char *) text->data, text->len);

    return n > max ? ngx_http_batch_param_long(op, name, max, n) : NGX_OK;
}


size_t
ngx_http_batch_param_chars(const char *p, size_t len)
{
    size_t  i, n;

    n = 0;

    for (i = 0; i < len; i++) {
        if (((u_char) p[i] & 0xc0) != 0x80) {
            n++;
        }
    }

    return n;
}


static ngx_int_t
ngx_http_batch_param_text(ngx_http_batch_op_t *op, const char *name,
    const json_t *value, ngx_str_t *text)
{
    if (value == NULL) {
        return ngx_http_batch_param_missing(op, name);
    }

    if (!json_is_string(value)) {
        return ngx_http_batch_param_type(op, name, "a string", value);
    }

    text->data = (u_char *) json_string_value(value);
    text->len = json_string_length(value);

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_param_ttl(ngx_http_batch_op_t *op, const char *name,
    int64_t *seconds)
{
    json_t  *value;

    value = json_object_get(op->root, name);

    if (value == NULL || json_is_null(value)) {
        return NGX_OK;
    }

    return ngx_http_batch_param_expires(op, name, value, seconds);
}


ngx_int_t
ngx_http_batch_param_expires(ngx_http_batch_op_t *op, const char *name,
    const json_t *value, int64_t *seconds)
{
    char       param[64];
    ngx_str_t  anchor;

    if (!json_is_object(value)) {
        return ngx_http_batch_param_type(op, name, "an object", value);
    }

    ngx_http_batch_param_key(param, sizeof(param), name, "anchor");

    if (ngx_http_batch_param_text(op, param, json_object_get(value, "anchor"),
                                  &anchor)
        != NGX_OK
        || ngx_http_batch_param_anchor(op, param, &anchor) != NGX_OK)
    {
        return NGX_DONE;
    }

    ngx_http_batch_param_key(param, sizeof(param), name, "seconds");

    return ngx_http_batch_param_json_int(op, param,
                                         json_object_get(value, "seconds"),
                                         NGX_HTTP_BATCH_PARAM_TTL_MIN,
                                         NGX_HTTP_BATCH_PARAM_TTL_MAX,
                                         seconds);
}


/* "<name>.<key>" */

static void
ngx_http_batch_param_key(char *param, size_t size, const char *name,
    const char *key)
{
    u_char  *p;

    p = ngx_snprintf((u_char *) param, size - 1, "%s.%s", name, key);
    *p = '\0';
}


ngx_int_t
ngx_http_batch_param_anchor(ngx_http_batch_op_t *op, const char *name,
    const ngx_str_t *value)
{
    static const ngx_str_t  anchor = ngx_string("created_at");

    if (value->len == anchor.len
        && ngx_memcmp(value->data, anchor.data, anchor.len) == 0)
    {
        return NGX_OK;
    }

    return ngx_http_batch_param_supported(op, name, value, &anchor, 1,
                                          sizeof(ngx_str_t));
}


ngx_int_t
ngx_http_batch_param_purpose(ngx_http_batch_op_t *op, const ngx_str_t *value,
    ngx_str_t *purpose)
{
    u_char                           list[256], *end;
    batch_shown_t                    shown;
    const ngx_http_batch_purpose_t  *known;

    known = ngx_http_batch_purpose_find(value, op->conf->lines);

    if (known == NULL || !known->upload) {
        end = ngx_http_batch_purpose_names(list, list + sizeof(list));

        return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, "purpose",
                                        NULL, "'%s' is not one of [%*s] - "
                                        "'purpose'",
                                        batch_shown(&shown, value->data,
                                                    value->len),
                                        (size_t) (end - list), list);
    }

    if (op->conf->dialect == NGX_HTTP_BATCH_TENSORZERO
        && !ngx_http_batch_purpose_is_batch(&known->name))
    {
        return ngx_http_batch_param_supported(op, "purpose", value,
                                              &ngx_http_batch_purpose_batch, 1,
                                              sizeof(ngx_str_t));
    }

    *purpose = known->name;

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_param_suffix(ngx_http_batch_op_t *op, const char *name,
    const ngx_str_t *filename)
{
    if (op->conf->dialect != NGX_HTTP_BATCH_TENSORZERO) {
        return NGX_OK;
    }

    if (filename->len > 6
        && ngx_strncmp(filename->data + filename->len - 6, ".jsonl", 6) == 0)
    {
        return NGX_OK;
    }

    return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, name,
                                    "invalid_value",
                                    "Invalid '%s': expected a file name that "
                                    "ends with '.jsonl'.", name);
}


ngx_int_t
ngx_http_batch_param_not_jsonl(ngx_http_batch_op_t *op,
    const batch_head_t *head)
{
    if (head->error == NULL) {
        return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, NULL, NULL,
                                        NGX_HTTP_BATCH_PARAM_JSONL);
    }

    if (head->at == 0) {
        return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, NULL, NULL,
                                        NGX_HTTP_BATCH_PARAM_JSONL ". %s",
                                        head->error);
    }

    return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, NULL, NULL,
                                    NGX_HTTP_BATCH_PARAM_JSONL
                                    ". Line %uL: %s at byte %uL.", head->line,
                                    head->error, head->at);
}
