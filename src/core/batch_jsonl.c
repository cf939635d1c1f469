/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * An input line: one pass over its bytes that notes where the values of the
 * known keys are.
 */

#include "batch_jsonl_int.h"
#include "batch_token.h"

#include <string.h>


#define batch_jsonl_name(path, name)                                          \
    { name, path name, "Duplicate key '" path name "'" }

const batch_jsonl_name_t  batch_jsonl_names[BATCH_JSONL_NKEYS] = {
    batch_jsonl_name("body.", "model"),
    batch_jsonl_name("body.", "input"),
    batch_jsonl_name("body.", "query"),
    batch_jsonl_name("body.", "texts"),
    batch_jsonl_name("body.", "stream"),
    batch_jsonl_name("body.", "prompt"),
    batch_jsonl_name("body.", "content"),
    batch_jsonl_name("body.", "messages"),
    batch_jsonl_name("body.", "documents"),
    batch_jsonl_name("body.", "background"),
    batch_jsonl_name("body.", "prompt_embeds"),
    batch_jsonl_name("body.", "stream_options"),
    batch_jsonl_name("", "url"),
    batch_jsonl_name("", "body"),
    batch_jsonl_name("", "method"),
    batch_jsonl_name("", "custom_id")
};


/* the keys of each length */

#define BATCH_JSONL_LENGTHS  16

static const unsigned  batch_jsonl_lengths[BATCH_JSONL_LENGTHS] = {
    [3] = batch_key(BATCH_JSONL_URL),
    [4] = batch_key(BATCH_JSONL_BODY),
    [5] = batch_key(BATCH_KEY_MODEL) | batch_key(BATCH_KEY_INPUT)
          | batch_key(BATCH_KEY_QUERY) | batch_key(BATCH_KEY_TEXTS),
    [6] = batch_key(BATCH_JSONL_METHOD) | batch_key(BATCH_KEY_STREAM)
          | batch_key(BATCH_KEY_PROMPT),
    [7] = batch_key(BATCH_KEY_CONTENT),
    [8] = batch_key(BATCH_KEY_MESSAGES),
    [9] = batch_key(BATCH_JSONL_CUSTOM_ID) | batch_key(BATCH_KEY_DOCUMENTS),
    [10] = batch_key(BATCH_KEY_BACKGROUND),
    [13] = batch_key(BATCH_KEY_PROMPT_EMBEDS),
    [14] = batch_key(BATCH_KEY_STREAM_OPTIONS)
};


/* those that settled endpoints need, and those looked for in every body */
#define BATCH_JSONL_SETTLED  (batch_key(BATCH_KEY_MODEL)                      \
                              | batch_key(BATCH_KEY_INPUT)                    \
                              | batch_key(BATCH_KEY_STREAM)                   \
                              | batch_key(BATCH_KEY_CONTENT)                  \
                              | batch_key(BATCH_KEY_MESSAGES))


static int batch_jsonl_walk(batch_jsonl_ctx_t *ctx, unsigned set, int depth);


/* the key of the set that the raw token is */

static unsigned
batch_jsonl_known(const batch_str_t *token, unsigned set)
{
    size_t                len;
    unsigned              k;
    unsigned char         buf[BATCH_JSONL_LENGTHS];
    const unsigned char  *p;

    p = token->data + 1;
    len = token->len - 2;

    if (memchr(p, '\\', len)) {
        p = buf;
        len = batch_token_decode(token, buf, sizeof(buf));
    }

    set &= (len < BATCH_JSONL_LENGTHS) ? batch_jsonl_lengths[len] : 0;

    for ( /* void */ ; set; set &= set - 1) {
        k = (unsigned) __builtin_ctz(set);

        if (batch_jsonl_names[k].name[0] == (char) *p
            && memcmp(batch_jsonl_names[k].name, p, len) == 0)
        {
            return k;
        }
    }

    return BATCH_JSONL_OTHER;
}


/*
 * Reads a key and the white space after its colon.  Of a known key it notes
 * where the value begins, and refuses a second one.
 */

static int
batch_jsonl_key(batch_jsonl_ctx_t *ctx, unsigned set, unsigned *k)
{
    batch_str_t    key;
    batch_scan_t  *s;

    s = &ctx->scan;

    if (batch_scan_key(s, &key) != BATCH_OK) {
        return BATCH_ERROR;
    }

    batch_scan_space(s);

    *k = batch_jsonl_known(&key, set);

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

    return batch_jsonl_walk(ctx, ctx->keys & ~BATCH_JSONL_LINE, 2);
}


/* the members of an object, of which the keys from..to - 1 are known */

static int
batch_jsonl_walk(batch_jsonl_ctx_t *ctx, unsigned set, int depth)
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

        if (batch_jsonl_key(ctx, set, &k) != BATCH_OK) {
            return BATCH_ERROR;
        }

        rc = (k == BATCH_JSONL_BODY) ? batch_jsonl_body(ctx)
             : (k == BATCH_KEY_INPUT) ? batch_jsonl_input(ctx)
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

    if (batch_jsonl_walk(ctx, ctx->keys & BATCH_JSONL_LINE, 1) != BATCH_OK) {
        return BATCH_ERROR;
    }

    batch_scan_space(s);

    if (s->p != s->last) {
        return batch_scan_fail(s, s->p, BATCH_SCAN_TEXT);
    }

    return BATCH_OK;
}


/* engines refuse stream_options without stream, so both are dropped */

static void
batch_jsonl_drop(batch_jsonl_ctx_t *ctx, batch_line_t *line)
{
    batch_str_t  *stream, *options;

    stream = &ctx->value[BATCH_KEY_STREAM];
    options = &ctx->value[BATCH_KEY_STREAM_OPTIONS];

    if (!ctx->rules->lenient || stream->len == 0 || stream->data[0] != 't') {
        return;
    }

    if (options->len && options->data < stream->data) {
        line->drops[line->ndrops++] = *options;
    }

    line->drops[line->ndrops++] = *stream;

    if (options->len && options->data > stream->data) {
        line->drops[line->ndrops++] = *options;
    }
}


void
batch_rules_init(batch_rules_t *rules, batch_target_t *targets, unsigned n)
{
    unsigned  i;

    memset(rules, 0, sizeof(batch_rules_t));

    rules->targets = targets;
    rules->ntargets = n;

    for (i = 0; i < n; i++) {
        targets[i].needs = batch_endpoint_find(&targets[i].url);
        rules->keys |= targets[i].needs->keys;
    }
}


/* a key twice that was no defect when the lines were checked is none now */

static unsigned
batch_jsonl_keys(const batch_rules_t *rules)
{
    unsigned  keys;

    keys = BATCH_JSONL_LINE;
    keys |= rules->checked ? rules->keys & BATCH_JSONL_SETTLED : rules->keys;

    if (rules->lenient) {
        keys |= batch_key(BATCH_KEY_STREAM_OPTIONS);
    }

    return keys;
}


int
batch_jsonl_parse(const unsigned char *p, size_t len,
    const batch_rules_t *rules, batch_line_t *line, batch_line_error_t *err)
{
    batch_jsonl_ctx_t  ctx;

    memset(&ctx, 0, sizeof(ctx));
    ctx.scan.p = p;
    ctx.scan.last = p + len;
    ctx.keys = batch_jsonl_keys(rules);
    ctx.rules = rules;
    ctx.err = err;

    err->code = NULL;
    err->param = NULL;
    err->message[0] = '\0';

    if (batch_jsonl_members(&ctx) != BATCH_OK) {
        memset(line, 0, sizeof(batch_line_t));
        return batch_demand_fail(&ctx, "invalid_json_line", NULL,
                                "This line is not parseable as valid JSON. "
                                "%s at byte %zu.", ctx.scan.error,
                                (size_t) (ctx.scan.at - p) + 1);
    }

    line->custom_id = ctx.value[BATCH_JSONL_CUSTOM_ID];
    line->method = ctx.value[BATCH_JSONL_METHOD];
    line->url = ctx.value[BATCH_JSONL_URL];
    line->body = ctx.value[BATCH_JSONL_BODY];
    line->model = ctx.value[BATCH_KEY_MODEL];
    line->target = 0;
    line->inputs = 0;
    line->ndrops = 0;

    if (line->model.len && line->model.data[0] != '"') {
        line->model.len = 0;
    }

    if (batch_demand(&ctx) != BATCH_OK) {
        return BATCH_ERROR;
    }

    line->target = ctx.target;

    if (rules->targets[ctx.target].needs->counted) {
        line->inputs = ctx.value[BATCH_KEY_INPUT].len ? ctx.inputs : 1;
    }

    batch_jsonl_drop(&ctx, line);

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
