/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What an upload begins with, and what is said of it.
 */

#include "batch_head.h"
#include "json_table.h"
#include "test.h"


typedef struct {
    const char  *text;
    size_t       len;
    const char  *error;              /* its beginning; "": no words */
    uint64_t     line;
    uint64_t     at;                 /* 0: no place */
} head_row_t;

#define row(text, error, line, at)  { text, sizeof(text) - 1, error, line, at }


static const head_row_t  rows[] = {
    row("{}", NULL, 1, 0),
    row("\xef\xbb\xbf\r\n \n{\"a\":1}\r\n[", NULL, 3, 0),
    row("", "", 1, 0),
    row("\n \r\n\t\n", "", 4, 0),
    row("\xef\xbb\xbf", "", 1, 0),

    row("\x1f\x8b\x08\0\0", "The file is compressed (gzip)", 1, 0),
    row("\x28\xb5\x2f\xfd\x04", "The file is compressed (zstd)", 1, 0),
    row("PK\x03\x04\x14", "The file is compressed (zip)", 1, 0),
    row("BZh91AY", "The file is compressed (bzip2)", 1, 0),
    row("\xfd" "7zXZ\0", "The file is compressed (xz)", 1, 0),
    row("PAR1\x15", "The file is in Parquet", 1, 0),

    row("\xff\xfe{\0\"\0", "The file is in UTF-16", 1, 0),
    row("\xfe\xff\0{\0\"", "The file is in UTF-16", 1, 0),
    row("{\0\"\0c\0", "The file is in UTF-16", 1, 0),
    row("\0{\0\"\0c", "The file is in UTF-16", 1, 0),
    row("\xff\xfe\0\0{\0\0\0", "The file is in UTF-32", 1, 0),
    row("\0\0\xfe\xff\0\0\0{", "The file is in UTF-32", 1, 0),
    row("{\0\0\0\"\0\0\0", "The file is in UTF-32", 1, 0),
    row("\0\0\0{\0\0\0\"", "The file is in UTF-32", 1, 0),

    row("[{\"custom_id\":\"a\"},\n", "The file begins with a JSON array", 1, 0),
    row("\n\n [\n{}]", "The file begins with a JSON array", 3, 0),
    row("{\n  \"custom_id\": \"a\"\n}\n", "The first object does not end", 1, 0),
    row("\n{\"a\": [\n1]}\n", "The first object does not end", 2, 0),
    row("{\"a\": \"b", "The first object does not end", 1, 0),

    row("{\"a\":NaN}\n", "Unexpected byte", 1, 6),
    row("\n{\"a\":1,}\n", "Expected a key", 2, 8),
    row("{\"a\":\"caf\xe9\"}\n", "Invalid UTF-8", 1, 10),
    row("\xef\xbb\xbf{\"a\":'b'}\n", "Unexpected byte", 1, 9),
    row("{} {}\n", "Text after the value", 1, 4),
    row("custom_id,url\n1,2\n", "Expected an object", 1, 1),
    row("\r\n \"a\"\n", "Expected an object", 2, 2),
};


static void
heads(void)
{
    int                rc;
    size_t             i;
    batch_head_t       h;
    unsigned char     *copy;
    const head_row_t  *r;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        r = &rows[i];
        copy = test_copy(r->text, r->len);
        rc = batch_head_look(copy, r->len, &h);
        free(copy);

        if (r->error == NULL) {
            ok(rc == BATCH_OK, "row %zu passes", i);
            continue;
        }

        ok(rc == BATCH_ERROR, "row %zu fails", i);
        ok(h.line == r->line && h.at == r->at,
           "row %zu: line %llu, byte %llu", i, (unsigned long long) h.line,
           (unsigned long long) h.at);

        if (r->error[0] == '\0') {
            ok(h.error == NULL, "row %zu: no words", i);

        } else {
            ok(h.error
               && strncmp(h.error, r->error, strlen(r->error)) == 0,
               "row %zu: %s", i, h.error ? h.error : "no words");
        }
    }
}


/* a head that is cut: what may still become an object passes */

static void
cut(void)
{
    batch_head_t    h;
    unsigned char  *p;

    p = malloc(BATCH_HEAD_SIZE + 1);

    memset(p, ' ', BATCH_HEAD_SIZE + 1);
    ok(batch_head_look(p, BATCH_HEAD_SIZE + 1, &h) == BATCH_OK, "blank");
    ok(batch_head_look(p, BATCH_HEAD_SIZE, &h) == BATCH_ERROR
       && h.error == NULL, "all of it is blank");

    memset(p, 'x', BATCH_HEAD_SIZE + 1);
    p[0] = '{';
    p[1] = '"';
    ok(batch_head_look(p, BATCH_HEAD_SIZE + 1, &h) == BATCH_OK, "a long key");
    ok(batch_head_look(p, BATCH_HEAD_SIZE, &h) == BATCH_ERROR
       && h.error && h.at == 0, "which never ends");

    p[BATCH_HEAD_SIZE] = '\n';
    ok(batch_head_look(p, BATCH_HEAD_SIZE + 1, &h) == BATCH_OK,
       "its end is not looked at");

    free(p);
}


static int
object_is(const unsigned char *p, size_t len, int whole)
{
    batch_head_t  h;

    return batch_head_object(p, len, whole, &h) == BATCH_OK;
}


/* the tables, as a member of an upload's first line */

static void
objects(void)
{
    char            text[256];
    size_t          i, cut, len;
    unsigned char  *copy;

    for (i = 0; i < JSON_GOOD; i++) {
        len = (size_t) sprintf(text, "\xef\xbb\xbf {\"k\":");
        memcpy(text + len, json_good[i].text, json_good[i].len);
        len += json_good[i].len;
        text[len++] = '}';

        for (cut = 0; cut <= len; cut++) {
            copy = test_copy(text, cut);
            ok(object_is(copy, cut, 0) == 1, "%s cut at %zu", text,
               cut);
            ok(object_is(copy, cut, 1) == (cut == len),
               "%s whole at %zu", text, cut);
            free(copy);
        }
    }

    for (i = 0; i < JSON_BAD; i++) {
        len = (size_t) sprintf(text, "{\"k\":");
        memcpy(text + len, json_bad[i].text, json_bad[i].len);
        len += json_bad[i].len;
        text[len++] = '}';

        copy = test_copy(text, len);
        ok(object_is(copy, len, 1) == 0, "refuse %s", text);
        free(copy);
    }

#define object(s, whole)                                                      \
    object_is((const unsigned char *) (s), sizeof(s) - 1, whole)

    ok(object("", 1) == 0 && object("", 0) == 1, "nothing");
    ok(object(" \n", 1) == 0, "white space");
    ok(object("[]", 1) == 0 && object("[]", 0) == 0, "array");
    ok(object("1", 0) == 0 && object("\"", 0) == 0, "scalars");
    ok(object("{} x", 0) == 0 && object("{} {", 0) == 0, "more after it");
    ok(object("\xef\xbb\xbf\xef\xbb\xbf{}", 1) == 0, "two marks");
    ok(object(" \xef\xbb\xbf{}", 1) == 0, "a mark after white space");
    ok(object("{\"a\":\"\x01", 0) == 0, "a bad beginning");
    ok(object("{}\r", 1) == 1, "trailing CR");
}


int
main(void)
{
    heads();
    cut();
    objects();

    return test_done("head");
}
