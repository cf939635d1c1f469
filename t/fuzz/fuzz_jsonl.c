/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The line parser, and what is made of a body; the compactor, which is another
 * machine, is asked for a second opinion on the JSON.  The input's first byte
 * chooses endpoint, model_optional, lenient, the batch's model and checked.
 */

#include "batch_head.h"
#include "batch_jsonl.h"
#include "batch_splice.h"
#include "batch_token.h"
#include "batch_json.h"
#include "fuzz.h"


static const batch_str_t  endpoints[] = {
    batch_string("/v1/chat/completions"),
    batch_string("/v1/embeddings"),
    batch_string("/v1/completions"),
    batch_string("/v1/responses"),
    batch_string("/v1/rerank"),
    batch_string("/own")
};

#define ENDPOINTS  (sizeof(endpoints) / sizeof(endpoints[0]))

/* of the first byte */
#define OPTIONAL  0x08
#define LENIENT   0x10
#define NAMED     0x20
#define CHECKED   0x40


/* does the compactor take it, in one piece; what is put out is thrown away */

static int
second(const unsigned char *p, size_t len)
{
    int             rc;
    batch_json_t    j;
    unsigned char  *out;

    out = fuzz_alloc(batch_json_bound(len));
    batch_json_init(&j);

    rc = (batch_json_feed(&j, p, len, out) != NULL
          && batch_json_finish(&j) == BATCH_OK);

    free(out);

    return rc;
}


static void
span(const batch_str_t *s, const unsigned char *p, size_t len)
{
    if (s->len) {
        must(s->data >= p && s->len <= len);
        must((size_t) (s->data - p) <= len - s->len);
        must(second(s->data, s->len));
    }
}


/* a token that is a string: decoding is the same at every room */

static void
token(const batch_str_t *t)
{
    size_t          n, cap;
    unsigned char  *whole, *cut;

    if (t->len == 0 || t->data[0] != '"') {
        return;
    }

    n = batch_token_decode(t, NULL, 0);
    must(n <= t->len);

    whole = fuzz_alloc(n);
    must(batch_token_decode(t, whole, n) == n);

    cap = n / 2;
    cut = fuzz_alloc(cap);
    must(batch_token_decode(t, cut, cap) == n);
    must(memcmp(whole, cut, cap) == 0);
    must(batch_token_eq(t, t));

    free(cut);
    free(whole);
}


static void
good(const batch_line_t *line, const batch_rules_t *rules)
{
    size_t              n, skip;
    unsigned char       buf[64];
    const batch_str_t  *url;

    n = batch_token_decode(&line->custom_id, NULL, 0);
    must(n >= 1 && n <= BATCH_CUSTOM_ID_MAX);

    if (line->method.len || !rules->lenient) {
        must(batch_token_decode(&line->method, buf, sizeof(buf)) == 4);
        must(memcmp(buf, "POST", 4) == 0);
    }

    must(line->target < rules->ntargets);
    url = &rules->targets[line->target].url;

    if (line->url.len || !rules->lenient) {
        n = batch_token_decode(&line->url, buf, sizeof(buf));
        skip = (rules->lenient && n == url->len - 1) ? 1 : 0;
        must(n == url->len - skip);
        must(memcmp(buf, url->data + skip, n) == 0);
    }

    must(line->body.data[0] == '{');
    must(line->body.data[line->body.len - 1] == '}');
    must(line->model.len == 0 || line->model.data[0] == '"');
    must(line->ndrops == 0 || rules->lenient);
}


/* is a what b is without the span? */

static int
without(const unsigned char *a, size_t n, const batch_str_t *b,
    const unsigned char *from, const unsigned char *to)
{
    size_t  head;

    head = (size_t) (from - b->data);

    return n == b->len - (size_t) (to - from)
           && memcmp(a, b->data, head) == 0
           && memcmp(a + head, to, n - head) == 0;
}


/*
 * The body that is sent is JSON, has the client's bytes in their order, no
 * stream that is true, and a model if the batch has one; read again by the same
 * rules it is left as it is.
 */

static void
splice(batch_line_t *line, const batch_rules_t *rules)
{
    size_t               n, size;
    batch_str_t          body;
    batch_line_t         again;
    unsigned char       *out, *text, *p;
    batch_line_error_t   err;

    static const char    front[] = "{\"custom_id\":\"i\",\"body\":";

    body = line->body;
    n = line->ndrops;
    size = batch_splice_size(line, rules);
    must(size <= body.len + line->custom_id.len + line->model.len
                 + rules->model.len + sizeof("\"model\":"));

    out = fuzz_alloc(size);
    must(n || rules->model.len || size == body.len + line->custom_id.len);

    if (n == 0 && (rules->model.len == 0 || line->model.len)) {
        batch_splice_keep(line, rules, out);
        must(without(out, line->body.len, &body, body.data, body.data));

    } else {
        batch_splice_keep(line, rules, out);
    }

    must(line->custom_id.data + line->custom_id.len == out + size);
    must(line->body.data == out);
    must(second(line->body.data, line->body.len));
    must(rules->model.len == 0 || line->model.len);

    if (line->model.len) {
        must(line->model.data >= out);
        must(line->model.data + line->model.len <= out + size);
        must(second(line->model.data, line->model.len));
    }

    if (rules->lenient) {
        size = sizeof(front) - 1 + line->body.len + 1;
        text = fuzz_alloc(size);
        p = text;
        memcpy(p, front, sizeof(front) - 1);
        p += sizeof(front) - 1;
        memcpy(p, line->body.data, line->body.len);
        p[line->body.len] = '}';

        if (batch_jsonl_parse(text, size, rules, &again, &err) == BATCH_OK) {
            must(again.ndrops == 0);
            must(again.model.len || rules->model.len == 0);

        } else {

            /* the batch's own endpoint may demand something else */

            must(strcmp(err.code, "invalid_json_line") != 0);
        }

        free(text);
    }

    free(out);
}


static void
object(const unsigned char *p, size_t len)
{
    size_t        cut;
    batch_head_t  head;

    /* any beginning of an object passes as a cut one */

    if (batch_head_object(p, len, 1, &head) == BATCH_OK) {
        must(second(p, len));
        cut = (size_t) (fuzz_seed(p, len) % (len + 1));
        must(batch_head_object(p, cut, 0, &head) == BATCH_OK);
        return;
    }

    must(head.at <= len + 1);

    if (batch_head_look(p, len, &head) == BATCH_OK) {
        must(len > BATCH_HEAD_SIZE || memchr(p, '{', len) != NULL);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                  rc, ours;
    size_t               i, len;
    batch_line_t         line;
    batch_rules_t        rules;
    unsigned char       *p;
    batch_target_t       targets[ENDPOINTS];
    batch_line_error_t   err;

    static const batch_str_t  model = batch_string("\"the \\\"model\"");

    if (size == 0) {
        return 0;
    }

    for (i = 0; i < ENDPOINTS; i++) {
        targets[i].url = endpoints[((data[0] & 7) + i) % ENDPOINTS];
    }

    batch_rules_init(&rules, targets, (data[0] & LENIENT) ? ENDPOINTS : 1);

    rules.model_optional = (data[0] & OPTIONAL) != 0;
    rules.checked = (data[0] & CHECKED) != 0;
    rules.lenient = (data[0] & LENIENT) != 0;

    if (rules.lenient && (data[0] & NAMED)) {
        rules.model = model;
    }

    len = size - 1;
    p = fuzz_copy(data + 1, len);

    rc = batch_jsonl_parse(p, len, &rules, &line, &err);

    span(&line.custom_id, p, len);
    span(&line.method, p, len);
    span(&line.url, p, len);
    span(&line.body, p, len);
    span(&line.model, p, len);
    token(&line.custom_id);
    token(&line.url);
    token(&line.model);

    if (rc == BATCH_OK) {
        good(&line, &rules);

    } else {
        must(err.code != NULL);
        must(memchr(err.message, '\0', sizeof(err.message)) != NULL);
        must(err.message[0] != '\0');
    }

    /*
     * What is JSON to the one is JSON to the other, apart from what only the
     * line parser knows: a line is an object, has no byte-order mark and no
     * known key twice.
     */

    ours = (rc == BATCH_OK || strcmp(err.code, "invalid_json_line") != 0);

    if (ours) {
        must(second(p, len));

    } else if (strstr(err.message, "Duplicate key") == NULL
               && strstr(err.message, "Expected an object") == NULL)
    {
        must(!second(p, len));
    }

    must(!batch_jsonl_blank(p, len) || !ours);

    if (rc == BATCH_OK) {
        splice(&line, &rules);
    }

    object(p, len);

    free(p);

    return 0;
}
