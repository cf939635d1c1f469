/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The line parser; the compactor, which is another machine, is asked for a
 * second opinion on the JSON.  The input's first byte chooses endpoint and
 * model_optional.
 */

#include "batch_head.h"
#include "batch_jsonl.h"
#include "batch_token.h"
#include "batch_json.h"
#include "fuzz.h"


static const batch_str_t  endpoints[] = {
    batch_string("/v1/chat/completions"),
    batch_string("/v1/embeddings"),
    batch_string("/v1/completions"),
    batch_string("/v1/responses")
};


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
good(const batch_line_t *line, const batch_str_t *endpoint, int optional)
{
    size_t         n;
    unsigned char  buf[64];

    n = batch_token_decode(&line->custom_id, NULL, 0);
    must(n >= 1 && n <= BATCH_CUSTOM_ID_MAX);

    must(batch_token_decode(&line->method, buf, sizeof(buf)) == 4);
    must(memcmp(buf, "POST", 4) == 0);

    must(batch_token_decode(&line->url, buf, sizeof(buf)) == endpoint->len);
    must(memcmp(buf, endpoint->data, endpoint->len) == 0);

    must(line->body.data[0] == '{');
    must(line->body.data[line->body.len - 1] == '}');
    must(optional || line->model.len >= 2);
    must(line->model.len == 0 || line->model.data[0] == '"');
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
    int                  rc, ours, optional;
    size_t               len;
    batch_line_t         line;
    unsigned char       *p;
    batch_line_error_t   err;
    const batch_str_t   *endpoint;

    if (size == 0) {
        return 0;
    }

    endpoint = &endpoints[data[0] & 3];
    optional = (data[0] >> 2) & 1;
    len = size - 1;
    p = fuzz_copy(data + 1, len);

    rc = batch_jsonl_parse(p, len, endpoint, optional, &line, &err);

    span(&line.custom_id, p, len);
    span(&line.method, p, len);
    span(&line.url, p, len);
    span(&line.body, p, len);
    span(&line.model, p, len);
    token(&line.custom_id);
    token(&line.url);
    token(&line.model);

    if (rc == BATCH_OK) {
        good(&line, endpoint, optional);

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

    object(p, len);

    free(p);

    return 0;
}
