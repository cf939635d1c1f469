/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Whole files: the first line that is not JSON, at every split.
 */

#include "batch_check.h"
#include "test.h"


typedef struct {
    const char  *text;
    uint64_t     line;               /* 0: all are good */
    uint64_t     at;
} check_row_t;


static const check_row_t  rows[] = {
    { "", 0, 0 },
    { "\n\n \t\r\n", 0, 0 },
    { "{}", 0, 0 },
    { "{}\n", 0, 0 },
    { "{}\r\n\r\n[1]\r\n", 0, 0 },
    { "\xef\xbb\xbf{}\n1\n\"x\"\ntrue", 0, 0 },
    { "{}\n\xef\xbb\xbf{}\n", 2, 1 },
    { "\xef\xbb\xbf", 0, 0 },
    { "\xef\xbb\xbf\n{}", 0, 0 },
    { "\xef\xbb\xbf \r\n\n{}\n", 0, 0 },
    { "\xef\xbb\xbf\nx", 2, 1 },
    { "\xef\xbb\xbf\xef\xbb\xbf{}", 1, 4 },
    { "\xef\xbb\n{}", 1, 3 },
    { "\xef\xbb", 1, 3 },
    { "\xef\n", 1, 2 },
    { "\n\xef\xbb\xbf{}\n", 2, 1 },
    { " \xef\xbb\xbf{}\n", 1, 2 },
    { "{}\n\n{\"a\":}\n{", 3, 6 },
    { "{}\n{\n}\n", 2, 2 },
    { "{} {}\n", 1, 4 },
    { "{}\n{\"a\":\"\xff\"}\n", 2, 7 },
    { "{}\n{\"a\":1", 2, 7 },
    { "{}\n{\"a\":01}\n{}", 2, 7 },
    { "{}\n  x\n", 2, 3 },
    { "\"a\0\"\n", 1, 3 },
};


static void
check(const check_row_t *row, size_t len, size_t cut, int bytes)
{
    int             rc;
    size_t          i, n;
    batch_check_t   c;
    unsigned char  *p;

    batch_check_init(&c);
    rc = BATCH_OK;

    for (i = 0; i < len && rc == BATCH_OK; i += n) {
        n = bytes ? 1 : (i < cut ? cut - i : len - i);
        p = test_copy(row->text + i, n);
        rc = batch_check_feed(&c, p, n);
        free(p);
    }

    if (rc == BATCH_OK) {
        rc = batch_check_finish(&c);
    }

    ok(rc == (row->line ? BATCH_ERROR : BATCH_OK), "%s", row->text);

    if (row->line) {
        ok(c.line == row->line && c.at == row->at && c.error,
           "%s: line %d, byte %d", row->text, (int) c.line, (int) c.at);
        ok(batch_check_feed(&c, (const unsigned char *) "{}", 2)
           == BATCH_ERROR, "it stays bad");
        ok(batch_check_finish(&c) == BATCH_ERROR, "it stays bad");
    }
}


/* a line that is longer than any buffer */

static void
large(void)
{
    size_t          len, i;
    batch_check_t   c;
    unsigned char  *p;

    len = 1 << 20;
    p = malloc(len);

    if (p == NULL) {
        abort();
    }

    memset(p, 'x', len);
    p[0] = '"';
    p[len - 2] = '"';
    p[len - 1] = '\n';

    batch_check_init(&c);
    ok(batch_check_feed(&c, p, len) == BATCH_OK, "one piece");
    ok(batch_check_finish(&c) == BATCH_OK && c.line == 3, "one line");

    p[len / 2] = '\t';
    batch_check_init(&c);

    for (i = 0; i < len; i += 65536) {
        (void) batch_check_feed(&c, p + i, 65536);
    }

    ok(c.error && c.line == 1 && c.at == len / 2 + 1, "a tab in the middle");

    free(p);
}


int
main(void)
{
    size_t  i, cut, len;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        len = (rows[i].text[0] == '"') ? 5 : strlen(rows[i].text);

        for (cut = 0; cut <= len; cut++) {
            check(&rows[i], len, cut, 0);
        }

        check(&rows[i], len, 0, 1);
    }

    large();

    return test_done("check");
}
