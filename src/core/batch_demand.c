/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The checks of a line that is JSON, in a fixed order.
 */

#include "batch_jsonl_int.h"
#include "batch_shown.h"
#include "batch_token.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>


static int batch_demand_no_url(batch_jsonl_ctx_t *ctx);


static const char *
batch_demand_type(const batch_str_t *token)
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


int
batch_demand_fail(batch_jsonl_ctx_t *ctx, const char *code, const char *param,
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


/* the value is missing, or not what is expected */

static int
batch_demand_other(batch_jsonl_ctx_t *ctx, unsigned k, const char *expected)
{
    const batch_jsonl_name_t  *name;

    name = &batch_jsonl_names[k];

    if (ctx->value[k].len == 0) {
        return batch_demand_fail(ctx, "missing_required_parameter", name->param,
                                 "Missing required parameter: '%s'.",
                                 name->name);
    }

    return batch_demand_fail(ctx, "invalid_type", name->param,
                             "Invalid type for '%s': expected %s, "
                             "but got %s instead.",
                             name->name, expected,
                             batch_demand_type(&ctx->value[k]));
}


/* requires a value of the type whose first byte is open */

static inline int
batch_demand_require(batch_jsonl_ctx_t *ctx, unsigned k, unsigned char open,
    const char *expected)
{
    if (ctx->value[k].len && ctx->value[k].data[0] == open) {
        return BATCH_OK;
    }

    return batch_demand_other(ctx, k, expected);
}


static int
batch_demand_custom_id(batch_jsonl_ctx_t *ctx)
{
    size_t        len;
    batch_str_t  *id;

    if (batch_demand_require(ctx, BATCH_JSONL_CUSTOM_ID, '"', "a string")
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
        return batch_demand_fail(ctx, "invalid_value", "custom_id",
                                 "Invalid 'custom_id': empty string. Expected "
                                 "a string with minimum length 1.");
    }

    return batch_demand_fail(ctx, "invalid_value", "custom_id",
                             "Invalid 'custom_id': string too long. Expected a "
                             "string with maximum length %d, but got a string "
                             "with length %zu instead.", BATCH_CUSTOM_ID_MAX,
                             len);
}


static int
batch_demand_method(batch_jsonl_ctx_t *ctx)
{
    batch_str_t              *method;
    batch_shown_t             shown;
    static const batch_str_t  post = batch_string("\"POST\"");

    method = &ctx->value[BATCH_JSONL_METHOD];

    if (method->len == 0 && ctx->rules->lenient) {
        return BATCH_OK;
    }

    if (method->len == post.len
        && memcmp(method->data, post.data, post.len) == 0)
    {
        return BATCH_OK;
    }

    if (batch_demand_require(ctx, BATCH_JSONL_METHOD, '"', "a string")
        != BATCH_OK)
    {
        return BATCH_ERROR;
    }

    if (batch_token_eq(method, &post)) {
        return BATCH_OK;
    }

    /* as the client wrote it, escapes included */

    return batch_demand_fail(ctx, "invalid_method", "method",
                             "Invalid value: '%s'. Supported values are: "
                             "'POST'.",
                             batch_shown(&shown, method->data + 1,
                                         method->len - 2));
}


/* the target that is named by p[0..len); lenient: without its slash, too */

static int
batch_demand_target(batch_jsonl_ctx_t *ctx, const unsigned char *p, size_t len)
{
    size_t               skip;
    unsigned             i;
    const batch_str_t   *url;

    skip = (ctx->rules->lenient && len && *p != '/') ? 1 : 0;

    for (i = 0; i < ctx->rules->ntargets; i++) {
        url = &ctx->rules->targets[i].url;

        if (len == url->len - skip && memcmp(p, url->data + skip, len) == 0) {
            ctx->target = i;
            return 1;
        }
    }

    return 0;
}


static int
batch_demand_url(batch_jsonl_ctx_t *ctx)
{
    size_t          len;
    batch_str_t    *url;
    unsigned char   buf[256];

    url = &ctx->value[BATCH_JSONL_URL];

    if (url->len == 0 && ctx->rules->lenient) {
        return BATCH_OK;
    }

    if (batch_demand_require(ctx, BATCH_JSONL_URL, '"', "a string")
        != BATCH_OK)
    {
        return BATCH_ERROR;
    }

    /* no target has a backslash, so a url with escapes is none as it is */

    if (batch_demand_target(ctx, url->data + 1, url->len - 2)) {
        return BATCH_OK;
    }

    len = batch_token_decode(url, buf, sizeof(buf));

    if (len <= sizeof(buf) && batch_demand_target(ctx, buf, len)) {
        return BATCH_OK;
    }

    return batch_demand_no_url(ctx);
}


static int
batch_demand_no_url(batch_jsonl_ctx_t *ctx)
{
    char               list[BATCH_ERROR_MSG_MAX / 2];
    size_t             n, len;
    unsigned           i;
    const batch_str_t *url;

    url = &ctx->rules->targets[0].url;

    if (!ctx->rules->lenient) {
        return batch_demand_fail(ctx, "invalid_url", "url",
                                 "The URL provided for this request does not "
                                 "match the batch endpoint. Expected '%.*s'.",
                                 (int) (url->len < 128 ? url->len : 128),
                                 (const char *) url->data);
    }

    n = 0;

    for (i = 0; i < ctx->rules->ntargets; i++) {
        url = &ctx->rules->targets[i].url;
        len = url->len + (i ? 4 : 2);

        if (len + sizeof(", ...") > sizeof(list) - n) {
            n += (size_t) sprintf(&list[n], "%s...", i ? ", " : "");
            break;
        }

        n += (size_t) sprintf(&list[n], "%s'%.*s'", i ? ", " : "",
                              (int) url->len, (const char *) url->data);
    }

    return batch_demand_fail(ctx, "invalid_url", "url",
                             "The URL provided for this request is not one of "
                             "those that batches may name here: %.*s.", (int) n,
                             list);
}


/*
 * A switch of the body: BATCH_OK: it is off (the API allows null for "not
 * set"); BATCH_AGAIN: it is on.  What it is to an endpoint that is not known
 * is not ours to say, unless it is true.
 */

static int
batch_demand_switch(batch_jsonl_ctx_t *ctx, unsigned k, int known)
{
    batch_str_t  *value;

    value = &ctx->value[k];

    if (value->len == 0 || value->data[0] == 'f' || value->data[0] == 'n') {
        return BATCH_OK;
    }

    if (value->data[0] == 't') {
        return BATCH_AGAIN;
    }

    return known ? batch_demand_require(ctx, k, 't', "a boolean") : BATCH_OK;
}


static int
batch_demand_stream(batch_jsonl_ctx_t *ctx,
    const batch_endpoint_t *endpoint)
{
    int  rc;

    rc = batch_demand_switch(ctx, BATCH_KEY_STREAM, endpoint->known);

    if (rc == BATCH_AGAIN && !ctx->rules->lenient) {
        return batch_demand_fail(ctx, "streaming_unsupported", "body.stream",
                                 "%sStreaming is not supported in the Batch "
                                 "API.", endpoint->prefix);
    }

    if (rc == BATCH_ERROR) {
        return BATCH_ERROR;
    }

    rc = BATCH_OK;

    if (endpoint->keys & batch_key(BATCH_KEY_BACKGROUND)) {
        rc = batch_demand_switch(ctx, BATCH_KEY_BACKGROUND, 1);
    }

    if (rc == BATCH_AGAIN) {
        return batch_demand_fail(ctx, "background_unsupported",
                                 "body.background",
                                 "Background responses are not supported in "
                                 "the Batch API: the inference server would "
                                 "answer 'queued' at once, and that would be "
                                 "the result of this request. Leave "
                                 "'background' out.");
    }

    return rc;
}


/* is the value of a type that the key may have? */

static int
batch_demand_fits(batch_jsonl_ctx_t *ctx, unsigned k)
{
    unsigned char  c;

    c = ctx->value[k].data[0];

    switch (k) {
    case BATCH_KEY_MESSAGES:
        return c == '[';
    case BATCH_KEY_INPUT:
        return c == '[' || c == '"';
    default:
        return 1;
    }
}


/* one of the keys any is there; errors name first */

static int
batch_demand_need(batch_jsonl_ctx_t *ctx, unsigned any, unsigned first)
{
    unsigned  k, bad;

    bad = BATCH_KEY_N;

    for ( /* void */ ; any; any &= any - 1) {
        k = (unsigned) __builtin_ctz(any);

        if (ctx->value[k].len == 0) {
            continue;
        }

        if (batch_demand_fits(ctx, k)) {
            return BATCH_OK;
        }

        if (bad == BATCH_KEY_N) {
            bad = k;
        }
    }

    return batch_demand_require(ctx, bad == BATCH_KEY_N ? first : bad, '[',
                                bad == BATCH_KEY_INPUT ? "a string or an array"
                                                       : "an array");
}


static int
batch_demand_model(batch_jsonl_ctx_t *ctx,
    const batch_endpoint_t *endpoint)
{
    batch_str_t  *model;

    model = &ctx->value[BATCH_KEY_MODEL];

    if (model->len == 0
        && (!endpoint->model || ctx->rules->model_optional
            || ctx->rules->lenient))
    {
        return BATCH_OK;
    }

    if (model->len && !endpoint->known && !ctx->rules->lenient) {
        return BATCH_OK;
    }

    return batch_demand_require(ctx, BATCH_KEY_MODEL, '"', "a string");
}


static int
batch_demand_needs(batch_jsonl_ctx_t *ctx, const batch_endpoint_t *endpoint)
{
    unsigned  i;

    for (i = 0; i < BATCH_ENDPOINT_NEEDS && endpoint->needs[i].any; i++) {
        if (batch_demand_need(ctx, endpoint->needs[i].any,
                              endpoint->needs[i].first)
            != BATCH_OK)
        {
            return BATCH_ERROR;
        }
    }

    return BATCH_OK;
}


static int
batch_demand_body(batch_jsonl_ctx_t *ctx)
{
    const batch_endpoint_t  *endpoint;

    if (batch_demand_require(ctx, BATCH_JSONL_BODY, '{', "an object")
        != BATCH_OK)
    {
        return BATCH_ERROR;
    }

    endpoint = ctx->rules->targets[ctx->target].needs;

    if (ctx->rules->checked) {
        return endpoint->settled ? batch_demand_needs(ctx, endpoint)
                                 : BATCH_OK;
    }

    if (batch_demand_model(ctx, endpoint) != BATCH_OK
        || batch_demand_stream(ctx, endpoint) != BATCH_OK)
    {
        return BATCH_ERROR;
    }

    return batch_demand_needs(ctx, endpoint);
}


int
batch_demand(batch_jsonl_ctx_t *ctx)
{
    if (batch_demand_custom_id(ctx) != BATCH_OK
        || batch_demand_method(ctx) != BATCH_OK
        || batch_demand_url(ctx) != BATCH_OK
        || batch_demand_body(ctx) != BATCH_OK)
    {
        return BATCH_ERROR;
    }

    return BATCH_OK;
}
