/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Bytes out of a body and into it.  The parser has accepted the line, so what
 * stands before and after a value is known.
 */

#include "batch_splice.h"

#include <string.h>


#define BATCH_SPLICE_NAME  "\"model\":"


static const unsigned char *
batch_splice_back(const unsigned char *p)
{
    while (p[-1] == ' ' || p[-1] == '\n' || p[-1] == '\r' || p[-1] == '\t') {
        p--;
    }

    return p;
}


static const unsigned char *
batch_splice_on(const unsigned char *p)
{
    while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t') {
        p++;
    }

    return p;
}


/* the opening quote of the member's key, which has no quote in it */

static const unsigned char *
batch_splice_key(const batch_str_t *value)
{
    const unsigned char  *p;

    p = batch_splice_back(value->data) - 1;     /* the colon */
    p = batch_splice_back(p) - 1;               /* the closing quote */

    do {
        p--;
    } while (*p != '"');

    return p;
}


/*
 * What is cut out for the i-th drop.  With the comma before it; if there is
 * none, or it has gone with the drop before, with the one after it.
 */

static void
batch_splice_cut(const batch_line_t *line, unsigned i, const batch_str_t *prev,
    batch_str_t *cut)
{
    const batch_str_t    *value;
    const unsigned char  *key, *from, *to;

    value = &line->drops[i];
    key = batch_splice_key(value);
    to = value->data + value->len;

    from = batch_splice_back(key) - 1;          /* a comma or the brace */

    if (*from == '{' || (prev && from < prev->data + prev->len)) {
        from = key;

        if (*batch_splice_on(to) == ',') {
            to = batch_splice_on(batch_splice_on(to) + 1);
        }
    }

    cut->data = from;
    cut->len = (size_t) (to - from);
}


static void
batch_splice_cuts(const batch_line_t *line, batch_str_t *cut)
{
    unsigned  i;

    for (i = 0; i < line->ndrops; i++) {
        batch_splice_cut(line, i, i ? &cut[i - 1] : NULL, &cut[i]);
    }
}


static int
batch_splice_adds(const batch_line_t *line, const batch_rules_t *rules)
{
    return rules->model.len && line->model.len == 0;
}


size_t
batch_splice_size(const batch_line_t *line, const batch_rules_t *rules)
{
    size_t       size;
    unsigned     i;
    batch_str_t  cut[BATCH_LINE_DROPS];

    size = line->body.len + line->custom_id.len;

    if (batch_splice_adds(line, rules)) {
        size += sizeof(BATCH_SPLICE_NAME) - 1 + rules->model.len + 1;
    }

    if (line->ndrops) {
        batch_splice_cuts(line, cut);
        size += line->model.len;

        for (i = 0; i < line->ndrops; i++) {
            size -= cut[i].len;
        }
    }

    return size;
}


/* copies a span and makes it one of the copy; returns the byte after it */

static unsigned char *
batch_splice_copy(batch_str_t *s, unsigned char *out)
{
    if (s->len) {
        memcpy(out, s->data, s->len);
    }

    s->data = out;

    return out + s->len;
}


/* the body with its changes; the model's span becomes one of out */

static unsigned char *
batch_splice_body(batch_line_t *line, const batch_rules_t *rules,
    unsigned char *out)
{
    size_t                n;
    unsigned              i;
    batch_str_t           cut[BATCH_LINE_DROPS];
    unsigned char        *start, *comma;
    const unsigned char  *p, *last;

    start = out;
    p = line->body.data;
    last = p + line->body.len;
    comma = NULL;

    if (batch_splice_adds(line, rules)) {
        *out++ = *p++;

        n = sizeof(BATCH_SPLICE_NAME) - 1;
        memcpy(out, BATCH_SPLICE_NAME, n);
        out += n;

        memcpy(out, rules->model.data, rules->model.len);
        line->model.data = out;
        line->model.len = rules->model.len;
        out += rules->model.len;

        comma = out++;
    }

    batch_splice_cuts(line, cut);

    for (i = 0; i < line->ndrops; i++) {
        n = (size_t) (cut[i].data - p);
        memcpy(out, p, n);
        out += n;
        p = cut[i].data + cut[i].len;
    }

    n = (size_t) (last - p);
    memcpy(out, p, n);
    out += n;

    if (comma) {
        *comma = (*batch_splice_on(comma + 1) == '}') ? ' ' : ',';
    }

    line->body.data = start;
    line->body.len = (size_t) (out - start);

    return out;
}


void
batch_splice_keep(batch_line_t *line, const batch_rules_t *rules,
    unsigned char *out)
{
    batch_str_t  body, model;

    body = line->body;
    model = line->model;               /* before anything is put in */

    if (line->ndrops || batch_splice_adds(line, rules)) {
        out = batch_splice_body(line, rules, out);

        if (model.len) {
            out = batch_splice_copy(&model, out);
            line->model = model;
        }

    } else {
        out = batch_splice_copy(&line->body, out);

        if (model.len) {
            line->model.data = line->body.data + (model.data - body.data);
        }
    }

    (void) batch_splice_copy(&line->custom_id, out);

    line->method.len = 0;
    line->url.len = 0;
    line->ndrops = 0;
}
