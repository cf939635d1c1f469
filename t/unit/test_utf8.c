/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "batch_utf8.h"
#include "test.h"


typedef struct {
    size_t       len;
    const char  *text;
    const char  *repaired;           /* NULL: it is valid */
} row_t;

static const row_t  rows[] = {
    { 0, "", NULL },
    { 5, "plain", NULL },
    { 1, "\x7f", NULL },
    { 2, "\xc2\x80", NULL },
    { 2, "\xdf\xbf", NULL },
    { 3, "\xe0\xa0\x80", NULL },
    { 3, "\xed\x9f\xbf", NULL },
    { 3, "\xee\x80\x80", NULL },
    { 3, "\xef\xbf\xbf", NULL },
    { 4, "\xf0\x90\x80\x80", NULL },
    { 4, "\xf4\x8f\xbf\xbf", NULL },
    { 1, "\0", "?" },
    { 3, "a\0b", "a?b" },
    { 1, "\x80", "?" },
    { 1, "\xff", "?" },
    { 3, "a\xff" "b", "a?b" },
    { 2, "\xc0\x80", "??" },
    { 2, "\xc1\xbf", "??" },
    { 3, "\xe0\x9f\xbf", "???" },
    { 4, "\xf0\x8f\xbf\xbf", "????" },
    { 4, "\xf4\x90\x80\x80", "????" },
    { 4, "\xf5\x80\x80\x80", "????" },
    { 1, "\xc3", "?" },
    { 2, "\xe2\x82", "??" },
    { 3, "\xf0\x9f\x98", "???" },
    { 3, "\xc3(x", "?(x" },
    { 3, "\xed\xa0\x80", "\xef\xbf\xbd" },
    { 3, "\xed\xbf\xbf", "\xef\xbf\xbd" },
    { 6, "\xed\xa0\xbd\xed\xb8\x80", "\xef\xbf\xbd\xef\xbf\xbd" },
    { 2, "\xed\xa0", "??" },
    { 3, "\xed\xa0\"", "??\"" },
    { 3, "\xed\xc0\x80", "???" },
    { 8, "\xc3\xa9\xed\xa0\x80\xffz\xc3",
      "\xc3\xa9\xef\xbf\xbd?z?" }
};


static void
test_rows(void)
{
    size_t          i;
    const row_t    *row;
    unsigned char  *p;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        row = &rows[i];
        p = test_copy(row->text, row->len);

        ok(batch_utf8_valid(p, row->len) == (row->repaired == NULL),
           "row %zu", i);

        batch_utf8_repair(p, row->len);

        ok(memcmp(p, row->repaired ? row->repaired : row->text, row->len) == 0,
           "row %zu", i);
        ok(batch_utf8_valid(p, row->len), "row %zu", i);

        free(p);
    }
}


static void
test_control(void)
{
    ok(!batch_utf8_control((const unsigned char *) "", 0), "nothing");
    ok(!batch_utf8_control((const unsigned char *) "a b\xc2\xa0\xc3\x85", 7),
       "none");
    ok(batch_utf8_control((const unsigned char *) "a\n", 2), "C0");
    ok(batch_utf8_control((const unsigned char *) "\0", 1), "NUL");
    ok(batch_utf8_control((const unsigned char *) "a\x7f", 2), "DEL");
    ok(batch_utf8_control((const unsigned char *) "a\xc2\x85", 3), "C1");
    ok(!batch_utf8_control((const unsigned char *) "a\xc2\x85", 2), "cut");
}


/* every character, whole and cut, against its encoding */

static void
test_characters(void)
{
    size_t         n, cut, bad;
    uint32_t       c;
    unsigned char  p[4];

    bad = 0;

    for (c = 1; c < 0x110000; c++) {
        n = (c < 0x80) ? 1 : (c < 0x800) ? 2 : (c < 0x10000) ? 3 : 4;

        p[0] = (unsigned char) (c < 0x80 ? c
                                : (0xf00 >> n & 0xff) | c >> 6 * (n - 1));
        p[1] = (unsigned char) (0x80 | (c >> (n > 1 ? 6 * (n - 2) : 0) & 0x3f));
        p[2] = (unsigned char) (0x80 | (c >> (n > 2 ? 6 * (n - 3) : 0) & 0x3f));
        p[3] = (unsigned char) (0x80 | (c & 0x3f));

        if (c >= 0xd800 && c < 0xe000) {
            bad += (batch_utf8_length(p, n) != 0);
            continue;
        }

        bad += (batch_utf8_length(p, n) != (int) n);
        bad += (batch_utf8_length(p, 4) != (int) n);

        for (cut = 1; cut < n; cut++) {
            bad += (batch_utf8_length(p, cut) != -1);
        }
    }

    ok(bad == 0, "%zu wrong lengths", bad);
}


int
main(void)
{
    test_rows();
    test_control();
    test_characters();

    return test_done("utf8");
}
