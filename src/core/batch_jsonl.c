/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * An input line: first one pass over its bytes that notes where the values of
 * the known keys are, then the checks, in a fixed order.
 */

#include "batch_jsonl.h"
#include "batch_scan.h"
#include "batch_shown.h"
#include "batch_token.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>


typedef enum {
    BATCH_JSONL_CUSTOM_ID = 0,
    BATCH_JSONL_METHOD,
    BATCH_JSONL_URL,
    BATCH_JSONL_BODY,
    BATCH_JSONL_MODEL,               /* from here on: keys of the body */
    BATCH_JSONL_STREAM,
    BATCH_JSONL_MESSAGES,
    BATCH_JSONL_INPUT,
    BATCH_JSONL_NKEYS,
    BATCH_JSONL_OTHER = BATCH_JSONL_NKEYS
} batch_jsonl_key_e;


typedef struct {
    const char            *name;
    size_t                 len;
    const char            *param;
    const char            *duplicate;
} batch_jsonl_name_t;


typedef struct {
    batch_scan_t           scan;
    batch_str_t            value[BATCH_JSONL_NKEYS];
    uint64_t               inputs;
    const batch_str_t     *endpoint;
    batch_line_error_t    *err;
} batch_jsonl_ctx_t;


static const batch_jsonl_name_t  batch_jsonl_names[BATCH_JSONL_NKEYS] = {
    { "custom_id", 9, "custom_id", "Duplicate key 'custom_id'" },
    { "method", 6, "method", "Duplicate key 'method'" },
    { "url", 3, "url", "Duplicate key 'url'" },
    { "body", 4, "body", "Duplicate key 'body'" },
    { "model", 5, "body.model", "Duplicate key 'body.model'" },
    { "stream", 6, "body.stream", "Duplicate key 'body.stream'" },
    { "messages", 8, "body.messages", "Duplicate key 'body.messages'" },
    { "input", 5, "body.input", "Duplicate key 'body.input'" }
};


static int batch_jsonl_walk(batch_jsonl_ctx_t *ctx, unsigned from, unsigned to,
    int depth);
static int batch_jsonl_fail(batch_jsonl_ctx_t *ctx, const char *code,
    const char *param, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));


/* the key that the raw token is, of those from..to - 1 */

static unsigned
batch_jsonl_known(const batch_str_t *token, unsigned from, unsigned to)
{
    size_t                len;
    unsigned              i;
    unsigned char         buf[16];
    const unsigned char  *p;

    p = token->data + 1;
    len = token->len - 2;

    if (memchr(p, '\\', len)) {
        p = buf;
        len = batch_token_decode(token, buf, sizeof(buf));
    }

    for (i = from; i < to; i++) {
        if (batch_jsonl_names[i].len == len
            && memcmp(batch_jsonl_names[i].name, p, len) == 0)
        {
            return i;
        }
    }

    return BATCH_JSONL_OTHER;
}


/*
 * Reads a key and the white space after its colon.  Of a known key it notes
 * where the value begins, and refuses a second one.
 */

static int
batch_jsonl_key(batch_jsonl_ctx_t *ctx, unsigned from, unsigned to, unsigned *k)
{
    batch_str_t    key;
    batch_scan_t  *s;

    s = &ctx->scan;

    if (batch_scan_key(s, &key) != BATCH_OK) {
        return BATCH_ERROR;
    }

    batch_scan_space(s);

    *k = batch_jsonl_known(&key, from, to);

    if (*k == BATCH_JSONL_OTHER) {
        return BATCH_OK;
    }

    if (ctx->value[*k].data) {
        return batch_scan_fail(s, key.data, batch_jsonl_names[*k].duplicate);
    }

    ctx->value[*k].data = s->p;

    return BATCH_OK;
}


/* body.input: an array of numbers is one input, a text given as token ids */

static int
batch_jsonl_input(batch_jsonl_ctx_t *ctx)
{
    int            rc;
    uint64_t       n, numbers;
    batch_scan_t  *s;

    s = &ctx->scan;

    if (s->p == s->last || *s->p != '[') {
        ctx->inputs = 1;
        return batch_scan_value(s, 2);
    }

    s->p++;
    numbers = 0;

    for (n = 0; /* void */; n++) {
        rc = batch_scan_next(s, n == 0, ']');

        if (rc != BATCH_OK) {
            break;
        }

        if (*s->p == '-' || (*s->p >= '0' && *s->p <= '9')) {
            numbers++;
        }

        if (batch_scan_value(s, 3) != BATCH_OK) {
            return BATCH_ERROR;
        }
    }

    ctx->inputs = (n && numbers == n) ? 1 : n;

    return (rc == BATCH_AGAIN) ? BATCH_OK : BATCH_ERROR;
}


static int
batch_jsonl_body(batch_jsonl_ctx_t *ctx)
{
    batch_scan_t  *s;

    s = &ctx->scan;

    if (s->p == s->last || *s->p != '{') {
        return batch_scan_value(s, 1);
    }

    s->p++;

    return batch_jsonl_walk(ctx, BATCH_JSONL_MODEL, BATCH_JSONL_NKEYS, 2);
}


/* the members of an object, of which the keys from..to - 1 are known */

static int
batch_jsonl_walk(batch_jsonl_ctx_t *ctx, unsigned from, unsigned to, int depth)
{
    int            rc, first;
    unsigned       k;
    batch_scan_t  *s;

    s = &ctx->scan;

    for (first = 1; /* void */; first = 0) {
        rc = batch_scan_next(s, first, '}');

        if (rc != BATCH_OK) {
            return (rc == BATCH_AGAIN) ? BATCH_OK : BATCH_ERROR;
        }

        if (batch_jsonl_key(ctx, from, to, &k) != BATCH_OK) {
            return BATCH_ERROR;
        }

        rc = (k == BATCH_JSONL_BODY) ? batch_jsonl_body(ctx)
             : (k == BATCH_JSONL_INPUT) ? batch_jsonl_input(ctx)
             : batch_scan_value(s, depth);

        if (rc != BATCH_OK) {
            return BATCH_ERROR;
        }

        if (k != BATCH_JSONL_OTHER) {
            ctx->value[k].len = (size_t) (s->p - ctx->value[k].data);
        }
    }
}


static int
batch_jsonl_members(batch_jsonl_ctx_t *ctx)
{
    batch_scan_t  *s;

    s = &ctx->scan;

    batch_scan_space(s);

    if (s->p == s->last) {
        return batch_scan_cut(s);
    }

    if (*s->p != '{') {
        return batch_scan_fail(s, s->p, "Expected an object");
    }

    s->p++;

    if (batch_jsonl_walk(ctx, 0, BATCH_JSONL_MODEL, 1) != BATCH_OK) {
        return BATCH_ERROR;
    }

    batch_scan_space(s);

    if (s->p != s->last) {
        return batch_scan_fail(s, s->p, BATCH_SCAN_TEXT);
    }

    return BATCH_OK;
}


static const char *
batch_jsonl_type(const batch_str_t *token)
{
    switch (token->data[0]) {
    case '"':
        return "a string";
    case '{':
        return "an object";
    case '[':
        return "an array";
    case 't':
    case 'f':
        return "a boolean";
    case 'n':
        return "null";
    default:
        return "a number";
    }
}


static int
batch_jsonl_fail(batch_jsonl_ctx_t *ctx, const char *code, const char *param,
    const char *fmt, ...)
{
    va_list  args;

    ctx->err->code = code;
    ctx->err->param = param;

    va_start(args, fmt);
    (void) vsnprintf(ctx->err->message, sizeof(ctx->err->message), fmt, args);
    va_end(args);

    return BATCH_ERROR;
}


/* requires a value of the type whose first byte is open */

static int
batch_jsonl_require(batch_jsonl_ctx_t *ctx, unsigned k, unsigned char open,
    const char *expected)
{
    const batch_jsonl_name_t  *name;

    name = &batch_jsonl_names[k];

    if (ctx->value[k].len && ctx->value[k].data[0] == open) {
        return BATCH_OK;
    }

    if (ctx->value[k].len == 0) {
        return batch_jsonl_fail(ctx, "missing_required_parameter", name->param,
                                "Missing required parameter: '%s'.",
                                name->name);
    }

    return batch_jsonl_fail(ctx, "invalid_type", name->param,
                            "Invalid type for '%s': expected %s, "
                            "but got %s instead.",
                            name->name, expected,
                            batch_jsonl_type(&ctx->value[k]));
}


static int
batch_jsonl_check_custom_id(batch_jsonl_ctx_t *ctx)
{
    size_t        len;
    batch_str_t  *id;

    if (batch_jsonl_require(ctx, BATCH_JSONL_CUSTOM_ID, '"', "a string")
        != BATCH_OK)
    {
        return BATCH_ERROR;
    }

    id = &ctx->value[BATCH_JSONL_CUSTOM_ID];
    len = id->len - 2;

    /* an escape is longer than what it stands for */

    if (len > BATCH_CUSTOM_ID_MAX) {
        len = batch_token_decode(id, NULL, 0);
    }

    if (len > 0 && len <= BATCH_CUSTOM_ID_MAX) {
        return BATCH_OK;
    }

    if (len == 0) {
        return batch_jsonl_fail(ctx, "invalid_value", "custom_id",
                                "Invalid 'custom_id': empty string. Expected a "
                                "string with minimum length 1.");
    }

    return batch_jsonl_fail(ctx, "invalid_value", "custom_id",
                            "Invalid 'custom_id': string too long. Expected a "
                            "string with maximum length %d, but got a string "
                            "with length %zu instead.", BATCH_CUSTOM_ID_MAX,
                            len);
}


static int
batch_jsonl_check_method(batch_jsonl_ctx_t *ctx)
{
    batch_str_t              *method;
    batch_shown_t             shown;
    static const batch_str_t  post = batch_string("\"POST\"");

    if (batch_jsonl_require(ctx, BATCH_JSONL_METHOD, '"', "a string")
        != BATCH_OK)
    {
        return BATCH_ERROR;
    }

    method = &ctx->value[BATCH_JSONL_METHOD];

    if (batch_token_eq(method, &post)) {
        return BATCH_OK;
    }

    /* as the client wrote it, escapes included */

    return batch_jsonl_fail(ctx, "invalid_method", "method",
                            "Invalid value: '%s'. Supported values are: "
                            "'POST'.",
                            batch_shown(&shown, method->data + 1,
                                        method->len - 2));
}


static int
batch_jsonl_check_url(batch_jsonl_ctx_t *ctx)
{
    size_t              len;
    unsigned char       buf[256];
    batch_str_t        *url;
    const batch_str_t  *endpoint;

    if (batch_jsonl_require(ctx, BATCH_JSONL_URL, '"', "a string")
        != BATCH_OK)
    {
        return BATCH_ERROR;
    }

    url = &ctx->value[BATCH_JSONL_URL];
    endpoint = ctx->endpoint;

    if (url->len - 2 == endpoint->len
        && memcmp(url->data + 1, endpoint->data, endpoint->len) == 0
        && memchr(url->data + 1, '\\', endpoint->len) == NULL)
    {
        return BATCH_OK;
    }

    len = batch_token_decode(url, buf, sizeof(buf));

    if (len == endpoint->len && len <= sizeof(buf)
        && memcmp(buf, endpoint->data, len) == 0)
    {
        return BATCH_OK;
    }

    return batch_jsonl_fail(ctx, "invalid_url", "url",
                            "The URL provided for this request does not match "
                            "the batch endpoint. Expected '%.*s'.",
                            (int) (endpoint->len < 128 ? endpoint->len : 128),
                            (const char *) endpoint->data);
}


static int
batch_jsonl_ends(const batch_str_t *s, const char *tail)
{
    size_t  n;

    n = strlen(tail);

    return s->len >= n && memcmp(s->data + s->len - n, tail, n) == 0;
}


static int
batch_jsonl_check_stream(batch_jsonl_ctx_t *ctx, int chat)
{
    batch_str_t  *stream;

    stream = &ctx->value[BATCH_JSONL_STREAM];

    /* the API allows null for "not set" */

    if (stream->len == 0 || stream->data[0] == 'f' || stream->data[0] == 'n') {
        return BATCH_OK;
    }

    if (stream->data[0] != 't') {
        return batch_jsonl_require(ctx, BATCH_JSONL_STREAM, 't', "a boolean");
    }

    return batch_jsonl_fail(ctx, "streaming_unsupported", "body.stream",
                            "%sStreaming is not supported in the Batch API.",
                            chat ? "Chat Completions: " : "");
}


static int
batch_jsonl_check_body(batch_jsonl_ctx_t *ctx, int model_optional)
{
    int           chat;
    batch_str_t  *input;

    if (batch_jsonl_require(ctx, BATCH_JSONL_BODY, '{', "an object")
        != BATCH_OK)
    {
        return BATCH_ERROR;
    }

    if ((ctx->value[BATCH_JSONL_MODEL].len || !model_optional)
        && batch_jsonl_require(ctx, BATCH_JSONL_MODEL, '"', "a string")
           != BATCH_OK)
    {
        return BATCH_ERROR;
    }

    chat = batch_jsonl_ends(ctx->endpoint, "/chat/completions");

    if (batch_jsonl_check_stream(ctx, chat) != BATCH_OK) {
        return BATCH_ERROR;
    }

    if (chat) {
        ctx->inputs = 0;
        return batch_jsonl_require(ctx, BATCH_JSONL_MESSAGES, '[', "an array");
    }

    if (batch_jsonl_ends(ctx->endpoint, "/embeddings")) {
        input = &ctx->value[BATCH_JSONL_INPUT];

        if (input->len && input->data[0] == '"') {
            return BATCH_OK;
        }

        return batch_jsonl_require(ctx, BATCH_JSONL_INPUT, '[',
                                   "a string or an array");
    }

    ctx->inputs = 0;

    return BATCH_OK;
}


int
batch_jsonl_parse(const unsigned char *p, size_t len,
    const batch_str_t *endpoint, int model_optional, batch_line_t *line,
    batch_line_error_t *err)
{
    batch_jsonl_ctx_t  ctx;

    memset(&ctx, 0, sizeof(ctx));
    ctx.scan.p = p;
    ctx.scan.last = p + len;
    ctx.endpoint = endpoint;
    ctx.err = err;

    err->code = NULL;
    err->param = NULL;
    err->message[0] = '\0';

    if (batch_jsonl_members(&ctx) != BATCH_OK) {
        memset(line, 0, sizeof(batch_line_t));
        return batch_jsonl_fail(&ctx, "invalid_json_line", NULL,
                                "This line is not parseable as valid JSON. "
                                "%s at byte %zu.", ctx.scan.error,
                                (size_t) (ctx.scan.at - p) + 1);
    }

    line->custom_id = ctx.value[BATCH_JSONL_CUSTOM_ID];
    line->method = ctx.value[BATCH_JSONL_METHOD];
    line->url = ctx.value[BATCH_JSONL_URL];
    line->body = ctx.value[BATCH_JSONL_BODY];
    line->model = ctx.value[BATCH_JSONL_MODEL];

    if (batch_jsonl_check_custom_id(&ctx) != BATCH_OK
        || batch_jsonl_check_method(&ctx) != BATCH_OK
        || batch_jsonl_check_url(&ctx) != BATCH_OK
        || batch_jsonl_check_body(&ctx, model_optional) != BATCH_OK)
    {
        line->inputs = 0;
        return BATCH_ERROR;
    }

    line->inputs = ctx.inputs;

    return BATCH_OK;
}


int
batch_jsonl_blank(const unsigned char *p, size_t len)
{
    batch_scan_t  s;

    s.p = p;
    s.last = p + len;

    batch_scan_space(&s);

    return s.p == s.last;
}
