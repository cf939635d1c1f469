/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The compactor, against the table, against the scanner, and at every split.
 */

#include "batch_escape.h"
#include "batch_json.h"
#include "batch_scan.h"
#include "json_table.h"
#include "test.h"

#include <ctype.h>


typedef struct {
    int             rc;
    batch_json_t    j;
    size_t          len;
    unsigned char   out[8192];
} compact_t;


/* pieces: lengths; after the last one all that is left */

static void
compact(compact_t *c, const void *text, size_t len, const size_t *pieces,
    size_t n)
{
    size_t                i, piece, room;
    unsigned char        *copy, *out, *end;
    const unsigned char  *p;

    p = text;
    c->len = 0;
    c->rc = BATCH_OK;

    batch_json_init(&c->j);

    for (i = 0; i <= n; i++) {
        piece = (i < n && pieces[i] < len) ? pieces[i] : (i < n ? 0 : len);

        copy = test_copy(p, piece);
        room = batch_json_bound(piece);
        out = malloc(room);

        if (out == NULL) {
            abort();
        }

        end = batch_json_feed(&c->j, copy, piece, out);

        if (end) {
            ok((size_t) (end - out) <= room, "bound");
            memcpy(c->out + c->len, out, (size_t) (end - out));
            c->len += (size_t) (end - out);
        }

        free(out);
        free(copy);

        if (end == NULL) {
            c->rc = BATCH_ERROR;
            ok(batch_json_feed(&c->j, p, 0, c->out) == NULL, "stays failed");
            (void) batch_json_finish(&c->j);
            return;
        }

        p += piece;
        len -= piece;
    }

    c->rc = batch_json_finish(&c->j);
}


static int
same(const compact_t *a, const compact_t *b)
{
    if (a->rc != b->rc || a->j.offset != b->j.offset
        || a->j.error != b->j.error)
    {
        return 0;
    }

    return a->rc != BATCH_OK
           || (a->len == b->len && memcmp(a->out, b->out, a->len) == 0
               && memcmp(&a->j.usage, &b->j.usage, sizeof(batch_usage_t)) == 0
               && a->j.model_len == b->j.model_len
               && memcmp(a->j.model, b->j.model, a->j.model_len) == 0);
}


/* every cut in two, and single bytes */

static void
splits(const void *text, size_t len)
{
    size_t            i;
    static size_t     ones[8192];
    static compact_t  whole, cut;

    compact(&whole, text, len, NULL, 0);

    for (i = 0; i <= len; i++) {
        ones[i] = 1;
        compact(&cut, text, len, &i, 1);
        ok(same(&whole, &cut), "%.60s cut at %zu", (const char *) text, i);
    }

    compact(&cut, text, len, ones, len ? len - 1 : 0);
    ok(same(&whole, &cut), "%.60s in bytes", (const char *) text);
}


/* the scanner's verdict on a text that is to be one value */

static int
scan(const unsigned char *p, size_t len, const char **error, size_t *at)
{
    int           rc;
    batch_scan_t  s;

    s.p = p;
    s.last = p + len;
    s.error = NULL;

    rc = batch_scan_value(&s, 0);

    if (rc == BATCH_OK) {
        batch_scan_space(&s);

        if (s.p != s.last) {
            rc = batch_scan_fail(&s, s.p, BATCH_SCAN_TEXT);
        }
    }

    *error = s.error;
    *at = s.error ? (size_t) (s.at - p) : len;

    return rc;
}


/* both parsers must say the same, byte for byte */

static void
agree(const void *text, size_t len)
{
    int                rc;
    size_t             at;
    const char        *error;
    unsigned char     *copy;
    static compact_t   c, again;

    copy = test_copy(text, len);

    rc = scan(copy, len, &error, &at);
    compact(&c, copy, len, NULL, 0);

    ok(rc == c.rc, "%.*s: scanner %d (%s), compactor %d (%s)", (int) len,
       (char *) copy, rc, error ? error : "", c.rc,
       c.j.error ? c.j.error : "");

    if (rc == BATCH_OK && c.rc == BATCH_OK) {
        compact(&again, c.out, c.len, NULL, 0);
        ok(again.rc == BATCH_OK && again.len == c.len
           && memcmp(again.out, c.out, c.len) == 0,
           "%.*s: compact already", (int) len, (char *) copy);
        ok(scan(c.out, c.len, &error, &at) == BATCH_OK, "still JSON");

    } else if (rc == c.rc) {

        /* a cut character: one counts the bytes that are there, one not */

        ok(strcmp(error, c.j.error) == 0 && at == c.j.offset,
           "%.*s: scanner %s at %zu, compactor %s at %zu", (int) len,
           (char *) copy, error, at, c.j.error, (size_t) c.j.offset);
    }

    free(copy);
}


static void
table(void)
{
    size_t             i, len;
    const char        *out;
    static compact_t   c;
    const json_row_t  *row;

    ok(JSON_GOOD + JSON_BAD >= 80, "rows");

    for (i = 0; i < JSON_GOOD; i++) {
        row = &json_good[i];
        out = row->out ? row->out : row->text;
        len = row->out ? row->out_len : row->len;

        compact(&c, row->text, row->len, NULL, 0);

        ok(c.rc == BATCH_OK, "accept %s: %s", row->text, c.j.error);
        ok(c.len == len && memcmp(c.out, out, len) == 0,
           "%s -> %.*s", row->text, (int) c.len, (char *) c.out);
        ok(c.j.offset == row->len, "all of it");

        splits(row->text, row->len);
        agree(row->text, row->len);
    }

    for (i = 0; i < JSON_BAD; i++) {
        row = &json_bad[i];
        compact(&c, row->text, row->len, NULL, 0);

        ok(c.rc == BATCH_ERROR, "refuse %s", row->text);
        ok(c.j.error != NULL, "say why");
        ok(c.j.offset <= row->len, "%s: offset", row->text);

        splits(row->text, row->len);

        if (row->len == 0 || (unsigned char) row->text[0] != 0xef) {
            agree(row->text, row->len);
        }
    }

    compact(&c, "\xef\xbb\xbf {\"a\": 1}", 12, NULL, 0);
    ok(c.rc == BATCH_OK && c.len == 7, "byte-order mark");
    splits("\xef\xbb\xbf {\"a\": 1}", 12);
}


static void
depth(void)
{
    size_t            i, n;
    char              text[2 * 520 + 8];
    static compact_t  c;

    for (n = BATCH_JSON_MAX_DEPTH - 1; n <= BATCH_JSON_MAX_DEPTH + 1; n++) {
        for (i = 0; i < n; i++) {
            text[i] = '[';
            text[2 * n - 1 - i] = ']';
        }

        compact(&c, text, 2 * n, NULL, 0);
        ok((c.rc == BATCH_OK) == (n <= BATCH_JSON_MAX_DEPTH), "depth %zu", n);
        agree(text, 2 * n);
    }

    ok(strcmp(c.j.error, "Nested too deeply") == 0, "%s", c.j.error);
    ok(c.j.offset == BATCH_JSON_MAX_DEPTH, "at the bracket too many");
}


typedef struct {
    const char     *text;
    batch_usage_t   usage;
    const char     *model;
} usage_row_t;

static const usage_row_t  usage_rows[] = {
    { "{\"id\":\"x\",\"model\":\"m-1\",\"choices\":[{\"message\":{\"content\":"
      "\"hi\",\"usage\":{\"prompt_tokens\":99}}}],\"usage\":{\"prompt_tokens\":"
      "7,\"completion_tokens\":5,\"total_tokens\":13,\"prompt_tokens_details\":"
      "{\"cached_tokens\":3,\"audio_tokens\":8},\"completion_tokens_details\":"
      "{\"reasoning_tokens\":2,\"cached_tokens_x\":4}}}",
      { 7, 5, 3, 2, 13 }, "m-1" },
    { "{\"usage\":{\"input_tokens\":10,\"input_tokens_details\":{"
      "\"cached_tokens\":4},\"output_tokens\":20,\"output_tokens_details\":{"
      "\"reasoning_tokens\":6}},\"model\":\"r\"}", { 10, 20, 4, 6, 30 }, "r" },
    { "{ \"model\" : \"m\" , \"usage\" : { \"total_tokens\" : 8 } , \"z\":1 }",
      { 0, 0, 0, 0, 8 }, "m" },
    { "{\"response\":{\"model\":\"x\",\"usage\":{\"prompt_tokens\":1}}}",
      { 0, 0, 0, 0, 0 }, "" },
    { "[{\"model\":\"x\",\"usage\":{\"prompt_tokens\":1}}]",
      { 0, 0, 0, 0, 0 }, "" },
    { "{\"usage\":[{\"prompt_tokens\":1}],\"model\":[\"x\"]}",
      { 0, 0, 0, 0, 0 }, "" },
    { "{\"usage\":{\"prompt_tokens\":[1],\"completion_tokens\":{\"a\":1},"
      "\"x\":{\"cached_tokens\":5}}}", { 0, 0, 0, 0, 0 }, "" },
    { "{\"usage\":{\"prompt_tokens\":-5,\"completion_tokens\":1.5}}",
      { 0, 0, 0, 0, 0 }, "" },
    { "{\"usage\":{\"prompt_tokens\":1e3,\"completion_tokens\":\"7\"}}",
      { 1000, 0, 0, 0, 1000 }, "" },
    { "{\"usage\":{\"prompt_tokens\":-0,\"completion_tokens\":007}}",
      { 0, 0, 0, 0, 0 }, NULL },
    { "{\"usage\":{\"prompt_tokens\":18446744073709551615,"
      "\"completion_tokens\":1}}",
      { BATCH_USAGE_MAX, 1, 0, 0, BATCH_USAGE_MAX }, "" },
    { "{\"usage\":{\"prompt_tokens\":18446744073709551616}}",
      { BATCH_USAGE_MAX, 0, 0, 0, BATCH_USAGE_MAX }, "" },
    { "{\"usage\":{\"prompt_tokens\":99999999999999999999999999999999}}",
      { BATCH_USAGE_MAX, 0, 0, 0, BATCH_USAGE_MAX }, "" },
    { "{\"usage\":{\"reasoning_tokens\":4,\"prompt_cache_hit_tokens\":3,"
      "\"prompt_cache_miss_tokens\":9,\"prompt_tokens\":12}}",
      { 12, 0, 3, 4, 12 }, "" },
    { "{\"usage\":{\"reasoning_tokens\":4,\"prompt_cache_hit_tokens\":3,"
      "\"prompt_tokens_details\":{\"cached_tokens\":5},"
      "\"completion_tokens_details\":{\"reasoning_tokens\":6}}}",
      { 0, 0, 5, 6, 0 }, "" },
    { "{\"usage\":{\"prompt_tokens_details\":{\"cached_tokens\":5},"
      "\"completion_tokens_details\":{\"reasoning_tokens\":6},"
      "\"reasoning_tokens\":0,\"prompt_cache_hit_tokens\":0}}",
      { 0, 0, 5, 6, 0 }, "" },
    { "{\"usage\":null,\"model\":null}", { 0, 0, 0, 0, 0 }, "" },
    { "{\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":null}}",
      { 4, 0, 0, 0, 4 }, "" },
    { "{\"model\":\"a\",\"model\":\"bc\"}", { 0, 0, 0, 0, 0 }, "bc" },
    { "{\"model\":\"a\\u0062\\\"\xe2\x80\xa8\"}", { 0, 0, 0, 0, 0 },
      "a\\u0062\\\"\\u2028" },
    { "{\"modelmodelmodelmodelmodelmodelmodel\":\"a\",\"usage\":{"
      "\"completion_tokens_details_and_more_than_that\":{\"cached_tokens\":1}}"
      "}", { 0, 0, 0, 0, 0 }, "" },
    { "{\"a\":{\"b\":{\"c\":{\"d\":{\"usage\":{}}}}},\"usage\":{"
      "\"prompt_tokens\":3}}", { 3, 0, 0, 0, 3 }, "" },
    { "{\"usage\":{\"prompt_tokens\":5},\"z\":[7],\"y\":{\"k\":[8]}}",
      { 5, 0, 0, 0, 5 }, "" },
    { "\"model\"", { 0, 0, 0, 0, 0 }, "" },
    { "18446744073709551616", { 0, 0, 0, 0, 0 }, "" }
};


/* what a number of usage counts, however it is written */

static const struct {
    const char  *text;
    uint64_t     n;
} counts[] = {
    { "0", 0 }, { "7", 7 }, { "10", 10 }, { "100", 100 },
    { "1002003", 1002003 },
    { "5.0", 5 }, { "5.000", 5 }, { "50.0", 50 }, { "0.0", 0 }, { "0e9", 0 },
    { "1e2", 100 }, { "1E+2", 100 }, { "1e0", 1 }, { "1e-0", 1 },
    { "1.5e1", 15 }, { "1.50e1", 15 }, { "0.5E1", 5 }, { "0.05e2", 5 },
    { "12.34e2", 1234 }, { "12.340e3", 12340 }, { "500e-2", 5 },
    { "5000.0e-3", 5 }, { "0.00000000000000000000000000001e29", 1 },
    { "100000000000000000000000000000e-29", 1 },
    { "100000000000000000000000000001e-29", 0 },
    { "100.5", 0 }, { "0.5", 0 }, { "1e-1", 0 }, { "1.5e0", 0 },
    { "15e-2", 0 }, { "1e-400", 0 }, { "0.1", 0 },
    { "1e-99999999999999999999", 0 }, { "12345678901234567890.5", 0 },
    { "-1", 0 }, { "-0", 0 }, { "-1e2", 0 }, { "-18446744073709551615", 0 },
    { "9007199254740990", BATCH_USAGE_MAX - 1 },
    { "9007199254740991", BATCH_USAGE_MAX },
    { "9007199254740992", BATCH_USAGE_MAX },
    { "9007199254740993.0", BATCH_USAGE_MAX },
    { "9007199254740990.0e0", BATCH_USAGE_MAX - 1 },
    { "900719925474099e1", BATCH_USAGE_MAX - 1 },
    { "9223372036854775807", BATCH_USAGE_MAX },
    { "18446744073709551615", BATCH_USAGE_MAX },
    { "18446744073709551617", BATCH_USAGE_MAX },
    { "184467440737095516160", BATCH_USAGE_MAX },
    { "1e16", BATCH_USAGE_MAX }, { "1e15", 1000000000000000 },
    { "1e400", BATCH_USAGE_MAX }, { "1e99999999999999999999", BATCH_USAGE_MAX },
    { "0e99999999999999999999", 0 }
};


static void
count(void)
{
    int               n;
    char              text[100];
    size_t            i;
    static compact_t  c;

    for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        n = snprintf(text, sizeof(text), "{\"usage\":{\"total_tokens\":%s}}",
                     counts[i].text);

        compact(&c, text, (size_t) n, NULL, 0);
        splits(text, (size_t) n);

        ok(c.rc == BATCH_OK && c.j.usage.total == counts[i].n, "%s: %llu",
           counts[i].text, (unsigned long long) c.j.usage.total);
    }
}


static void
usage(void)
{
    char                text[700];
    size_t              i, n;
    static compact_t    c;
    const usage_row_t  *row;

    for (i = 0; i < sizeof(usage_rows) / sizeof(usage_rows[0]); i++) {
        row = &usage_rows[i];
        compact(&c, row->text, strlen(row->text), NULL, 0);
        splits(row->text, strlen(row->text));

        if (row->model == NULL) {
            ok(c.rc == BATCH_ERROR, "%s", row->text);
            continue;
        }

        ok(c.rc == BATCH_OK, "%s: %s", row->text, c.j.error);
        ok(memcmp(&c.j.usage, &row->usage, sizeof(batch_usage_t)) == 0,
           "%s: %llu %llu %llu %llu %llu", row->text,
           (unsigned long long) c.j.usage.input,
           (unsigned long long) c.j.usage.output,
           (unsigned long long) c.j.usage.cached,
           (unsigned long long) c.j.usage.reasoning,
           (unsigned long long) c.j.usage.total);
        ok(c.j.model_len == strlen(row->model)
           && memcmp(c.j.model, row->model, c.j.model_len) == 0,
           "%s: model %.*s", row->text, (int) c.j.model_len,
           (char *) c.j.model);
    }

    /* keys as long as the room for them, and longer */

    for (n = 30; n <= 40; n++) {
        memcpy(text, "{\"", 2);
        memset(text + 2, 'k', n);
        i = n + 2 + (size_t) sprintf(text + n + 2, "\":1,\"model\":\"m\"}");
        compact(&c, text, i, NULL, 0);
        ok(c.rc == BATCH_OK && c.j.model_len == 1, "key of %zu", n);
        splits(text, i);
    }

    for (n = BATCH_MODEL_MAX - 1; n <= BATCH_MODEL_MAX + 1; n++) {
        memcpy(text, "{\"model\":\"", 10);
        memset(text + 10, 'm', n);
        memcpy(text + 10 + n, "\"}", 2);
        compact(&c, text, n + 12, NULL, 0);
        ok(c.rc == BATCH_OK && c.j.model_len
           == (n <= BATCH_MODEL_MAX ? n : 0), "model of %zu", n);
        splits(text, n + 12);
    }
}


/* mutated texts: the two parsers and all splits must go on agreeing */

static void
mutate(void)
{
    int                         i, k;
    char                        text[512];
    size_t                      len, piece;
    uint64_t                    seed;
    static compact_t            whole, cut;
    const char                 *base;
    static const unsigned char  bytes[] =
        "\"\\{}[]:,0123456789.eE+-tfn u\x00\x1f\x80\xbf\xc2\x85\xe2\x80\xa8\xed"
        "\xa0\xf0\x90\xf4";

    seed = 0x9e3779b97f4a7c15;

    for (i = 0; i < 20000; i++) {
        base = usage_rows[test_random(&seed)
                          % (sizeof(usage_rows) / sizeof(usage_rows[0]))].text;
        len = strlen(base);
        memcpy(text, base, len);

        for (k = (int) (test_random(&seed) % 4); k >= 0; k--) {
            text[test_random(&seed) % len] =
                (char) bytes[test_random(&seed) % (sizeof(bytes) - 1)];
        }

        agree(text, len);

        piece = test_random(&seed) % len;
        compact(&whole, text, len, NULL, 0);
        compact(&cut, text, len, &piece, 1);
        ok(same(&whole, &cut), "%.*s cut at %zu", (int) len, text, piece);
    }
}


typedef struct {
    size_t       len;
    const char  *text;
    const char  *out;
} escape_row_t;

static const escape_row_t  escape_rows[] = {
    { 0, "", "" },
    { 3, "abc", "abc" },
    { 2, "\"\\", "\\\"\\\\" },
    { 5, "\b\f\n\r\t", "\\b\\f\\n\\r\\t" },
    { 4, "\0\x01\x1f\x7f", "\\u0000\\u0001\\u001f\x7f" },
    { 2, "\xc3\xa9", "\xc3\xa9" },
    { 4, "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
    { 2, "\xc2\x85", "\\u0085" },
    { 6, "\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029" },
    { 1, "\xff", "\xef\xbf\xbd" },
    { 3, "a\x80z", "a\xef\xbf\xbdz" },
    { 2, "\xe2\x80", "\xef\xbf\xbd" },
    { 3, "\xe2\x80z", "\xef\xbf\xbdz" },
    { 3, "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
    { 2, "\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd" },
    { 4, "\xf0\x90\x80\"", "\xef\xbf\xbd\\\"" },
    { 4, "\xf4\x90\x80\x80",
      "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
    { 2, "\xc3\n", "\xef\xbf\xbd\\n" }
};


static void
escape(void)
{
    size_t                i, n, k;
    uint64_t              seed;
    unsigned char        *copy, *out, *end, buf[64];
    static compact_t      c;
    const escape_row_t   *row;

    for (i = 0; i < sizeof(escape_rows) / sizeof(escape_rows[0]); i++) {
        row = &escape_rows[i];
        copy = test_copy(row->text, row->len);
        out = malloc(6 * row->len + 1);
        end = batch_escape_string(out, copy, row->len);
        ok((size_t) (end - out) == strlen(row->out)
           && memcmp(out, row->out, strlen(row->out)) == 0,
           "escape row %zu: %.*s", i, (int) (end - out), (char *) out);
        free(out);
        free(copy);
    }

    /* any bytes give the inside of a strict string, within the bound */

    seed = 88172645463325252;

    for (i = 0; i < 3000; i++) {
        n = test_random(&seed) % sizeof(buf);

        for (k = 0; k < n; k++) {
            buf[k] = (unsigned char) (test_random(&seed)
                                      | (test_random(&seed) & 0x80));
        }

        out = malloc(6 * n + 2);
        out[0] = '"';
        end = batch_escape_string(out + 1, buf, n);
        ok((size_t) (end - out - 1) <= 6 * n, "bound");
        *end++ = '"';
        compact(&c, out, (size_t) (end - out), NULL, 0);
        ok(c.rc == BATCH_OK && c.len == (size_t) (end - out)
           && memcmp(c.out, out, c.len) == 0, "escaped random bytes");
        free(out);
    }
}


/* each byte is itself or %XX */

static void
percent(void)
{
    int            i;
    size_t         n;
    char           want[4];
    unsigned char  c, out[3];

    for (i = 0; i < 256; i++) {
        c = (unsigned char) i;
        n = (size_t) (batch_escape_percent(out, &c, 1, "-/") - out);

        if (c < 0x80 && (isalnum(c) || c == '-' || c == '/')) {
            ok(n == 1 && out[0] == c, "byte %d stays", i);

        } else {
            snprintf(want, sizeof(want), "%%%02X", c);
            ok(n == 3 && memcmp(out, want, 3) == 0, "byte %d is encoded", i);
        }
    }
}


int
main(void)
{
    table();
    depth();
    usage();
    count();
    mutate();
    escape();
    percent();

    return test_done("json");
}
