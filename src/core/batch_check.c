/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Lines go through the compactor, and its output is thrown away.
 */

#include "batch_check.h"
#include "batch_scan.h"

#include <string.h>


#define BATCH_CHECK_PIECE  4096


void
batch_check_init(batch_check_t *c)
{
    memset(c, 0, sizeof(batch_check_t));
    c->line = 1;
}


static int
batch_check_fail(batch_check_t *c, uint64_t at, const char *error)
{
    c->at = at;
    c->error = error;

    return BATCH_ERROR;
}


/* a piece of a line, without the newline */

static int
batch_check_part(batch_check_t *c, const unsigned char *p, size_t len)
{
    size_t                      n;
    unsigned char               out[batch_json_bound(BATCH_CHECK_PIECE)];
    static const unsigned char  bom[] = { 0xef, 0xbb, 0xbf };

    if (len == 0) {
        return BATCH_OK;
    }

    if (c->len == 0 && c->line > 1 && *p == 0xef) {

        /* the compactor would accept a byte-order mark here, too */

        return batch_check_fail(c, 1, BATCH_SCAN_BYTE);
    }

    /* a line may also be blank after the file's mark */

    n = 0;

    while (c->line == 1 && n < len && c->mark < sizeof(bom)
           && c->len + n == c->mark && p[n] == bom[c->mark])
    {
        c->mark++;
        n++;
    }

    if (!c->begun && !batch_jsonl_blank(p + n, len - n)) {
        c->begun = 1;
    }

    c->len += len;

    for ( /* void */ ; len; p += n, len -= n) {
        n = (len < BATCH_CHECK_PIECE) ? len : BATCH_CHECK_PIECE;

        if (batch_json_feed(&c->json, p, n, out) == NULL) {
            return batch_check_fail(c, c->json.offset + 1, c->json.error);
        }
    }

    return BATCH_OK;
}


static int
batch_check_end(batch_check_t *c)
{
    if (c->line == 1 && c->mark && c->mark < 3) {
        c->begun = 1;
    }

    if (c->begun && batch_json_finish(&c->json) != BATCH_OK) {
        return batch_check_fail(c, c->len + 1, c->json.error);
    }

    c->line++;
    c->len = 0;
    c->begun = 0;
    batch_json_init(&c->json);

    return BATCH_OK;
}


int
batch_check_feed(batch_check_t *c, const unsigned char *p, size_t len)
{
    const unsigned char  *last, *nl;

    if (c->error) {
        return BATCH_ERROR;
    }

    for (last = p + len; p < last; p = nl + 1) {
        nl = memchr(p, '\n', (size_t) (last - p));

        if (nl == NULL) {
            return batch_check_part(c, p, (size_t) (last - p));
        }

        if (batch_check_part(c, p, (size_t) (nl - p)) != BATCH_OK
            || batch_check_end(c) != BATCH_OK)
        {
            return BATCH_ERROR;
        }
    }

    return BATCH_OK;
}


int
batch_check_finish(batch_check_t *c)
{
    return c->error ? BATCH_ERROR : batch_check_end(c);
}
