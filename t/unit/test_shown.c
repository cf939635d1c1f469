/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "batch_shown.h"
#include "batch_text.h"
#include "batch_utf8.h"
#include "test.h"


typedef struct {
    size_t       pad;                /* as many 'a' before the text */
    size_t       len;
    const char  *text;
    const char  *shown;              /* after the pad */
} row_t;

static const row_t  rows[] = {
    { 0, 0, "", "" },
    { 0, 5, "plain", "plain" },
    { 128, 0, "", "" },
    { 127, 1, "b", "b" },
    { 127, 2, "bc", "b..." },
    { 128, 1, "b", "..." },

    /* between characters, of any length, at any distance from the end */

    { 126, 2, "\xc3\xa9", "\xc3\xa9" },
    { 126, 3, "\xc3\xa9x", "\xc3\xa9..." },
    { 127, 2, "\xc3\xa9", "..." },
    { 125, 4, "\xe2\x82\xacx", "\xe2\x82\xac..." },
    { 126, 3, "\xe2\x82\xac", "..." },
    { 127, 3, "\xe2\x82\xac", "..." },
    { 124, 5, "\xf0\x9f\x98\x80x", "\xf0\x9f\x98\x80..." },
    { 125, 4, "\xf0\x9f\x98\x80", "..." },
    { 126, 4, "\xf0\x9f\x98\x80", "..." },
    { 127, 4, "\xf0\x9f\x98\x80", "..." },

    /* what is not UTF-8 is shown, and cut, all the same */

    { 0, 3, "a\xff" "b", "a?b" },
    { 0, 3, "a\0b", "a?b" },
    { 0, 3, "\xed\xa0\x80", "\xef\xbf\xbd" },
    { 124, 6, "\x80\x80\x80\x80\x80\x80", "????..." },
    { 0, 2, "\xc3", "??" },

    /* what steers a terminal or an editor */

    { 0, 6, "a\r\nb\x1b\x7f", "a??b??" },
    { 0, 4, "\xc2\x85\xc2\xa0", "?\xc2\xa0" },
    { 0, 6, "\xe2\x80\xa8\xe2\x80\xae", "??" },
    { 0, 9, "\xe2\x80\x8f\xe2\x81\xa6\xe2\x81\xaa", "??\xe2\x81\xaa" },
    { 0, 6, "\xe2\x80\x8d\xe2\x80\xaf", "\xe2\x80\x8d\xe2\x80\xaf" }
};


static void
test_shown_rows(void)
{
    char            in[256], want[256];
    size_t          i;
    const row_t    *row;
    batch_shown_t   shown;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        row = &rows[i];

        memset(in, 'a', row->pad);
        memcpy(in + row->pad, row->text, row->len);

        memset(want, 'a', row->pad);
        strcpy(want + row->pad, row->shown);

        memset(&shown, 'z', sizeof(shown));

        ok(strcmp(batch_shown(&shown, in, row->pad + row->len), want) == 0,
           "row %zu: \"%s\"", i, shown.text);
    }

    ok(strcmp(batch_shown(&shown, NULL, 0), "") == 0, "no text at all");
}


/* any bytes: valid, bounded, and as JSON at most twice as long */

static void
test_shown_bounds(void)
{
    size_t          i, n, bad;
    batch_text_t    t;
    batch_shown_t   shown;
    unsigned char   in[300];
    static const unsigned char  bytes[] = {
        0, 1, '\n', '"', '\\', 'a', 0x7f, 0x80, 0xa8, 0xbf, 0xc2, 0xe2, 0xed,
        0xef, 0xf0, 0xf4, 0xff
    };

    bad = 0;
    srand(1);

    for (i = 0; i < 200000; i++) {
        for (n = 0; n < sizeof(in); n++) {
            in[n] = bytes[(size_t) rand() % sizeof(bytes)];
        }

        n = (size_t) rand() % sizeof(in);
        batch_shown(&shown, in, n);

        memset(&t, 0, sizeof(t));
        batch_text_string(&t, shown.text, strlen(shown.text));

        bad += !batch_utf8_valid((unsigned char *) shown.text,
                                 strlen(shown.text));
        bad += (strlen(shown.text) > BATCH_SHOWN_MAX + 3);
        bad += (t.len > 2 * strlen(shown.text) + 2);

        batch_text_free(&t);
    }

    ok(bad == 0, "%zu of 200000 texts are shown badly", bad);
}


int
main(void)
{
    test_shown_rows();
    test_shown_bounds();

    return test_done("shown");
}
