/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * "word; name=value; ...", as Content-Type and Content-Disposition have it.
 */

#include "batch_params.h"

#include <string.h>


int
batch_params_token(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')
           || (c >= 'a' && c <= 'z')
           || (c && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}


static void
batch_params_space(batch_params_t *params)
{
    while (params->p < params->last
           && (*params->p == ' ' || *params->p == '\t'))
    {
        params->p++;
    }
}


/* up to a semicolon or white space */

static void
batch_params_word(batch_params_t *params, batch_str_t *word)
{
    word->data = params->p;

    while (params->p < params->last && *params->p != ';'
           && *params->p != ' ' && *params->p != '\t')
    {
        params->p++;
    }

    word->len = (size_t) (params->p - word->data);
}


void
batch_params_init(batch_params_t *params, const unsigned char *p, size_t len,
    batch_str_t *word)
{
    params->p = p;
    params->last = p + len;

    batch_params_space(params);
    batch_params_word(params, word);
}


static int
batch_params_quoted(batch_params_t *params, batch_str_t *value)
{
    const unsigned char  *p;

    p = params->p + 1;
    value->data = p;

    for ( /* void */ ; p < params->last; p++) {

        if (*p == '"') {
            value->len = (size_t) (p - value->data);
            params->p = p + 1;
            return BATCH_OK;
        }

        if (*p == '\\' && params->last - p > 1
            && (p[1] == '"' || p[1] == '\\'))
        {
            p++;
        }
    }

    return BATCH_ERROR;
}


int
batch_params_next(batch_params_t *params, batch_str_t *name,
    batch_str_t *value, int *quoted)
{
    batch_params_space(params);

    if (params->p == params->last) {
        return BATCH_AGAIN;
    }

    if (*params->p != ';') {
        return BATCH_ERROR;
    }

    while (params->p < params->last && *params->p == ';') {
        params->p++;
        batch_params_space(params);
    }

    if (params->p == params->last) {
        return BATCH_AGAIN;
    }

    name->data = params->p;

    while (params->p < params->last && batch_params_token(*params->p)) {
        params->p++;
    }

    name->len = (size_t) (params->p - name->data);

    if (name->len == 0 || params->p == params->last || *params->p != '=') {
        return BATCH_ERROR;
    }

    params->p++;

    *quoted = (params->p < params->last && *params->p == '"');

    if (*quoted) {
        return batch_params_quoted(params, value);
    }

    batch_params_word(params, value);

    return memchr(value->data, '"', value->len) ? BATCH_ERROR : BATCH_OK;
}


size_t
batch_params_unquote(unsigned char *p, size_t len)
{
    size_t  i, n;

    for (i = 0, n = 0; i < len; i++) {

        if (p[i] == '\\' && i + 1 < len
            && (p[i + 1] == '"' || p[i + 1] == '\\'))
        {
            i++;
        }

        p[n++] = p[i];
    }

    return n;
}


int
batch_params_is(const batch_str_t *s, const char *word)
{
    size_t         i;
    unsigned char  c;

    for (i = 0; i < s->len; i++) {
        c = s->data[i];

        if (c >= 'A' && c <= 'Z') {
            c |= 0x20;
        }

        if (word[i] == '\0' || c != (unsigned char) word[i]) {
            return 0;
        }
    }

    return word[i] == '\0';
}
