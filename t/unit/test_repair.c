/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The compactor with repair: what is mended, into what, at every split; and
 * that all else is as without it.
 */

#include "batch_json.h"
#include "batch_scan.h"
#include "json_table.h"
#include "test.h"


typedef struct {
    int             rc;
    batch_json_t    j;
    size_t          len;
    unsigned char   out[16384];
} mended_t;


/* in pieces of n bytes, the first of them shorter */

static void
mend(mended_t *m, const void *text, size_t len, size_t first, size_t n,
    int repair)
{
    size_t                piece, room, took;
    uint64_t              before;
    unsigned char        *copy, *out, *end;
    const unsigned char  *p;

    p = text;
    m->len = 0;

    batch_json_init(&m->j);
    m->j.repair = repair;

    for (piece = first; len; piece = n) {
        piece = (piece < len) ? piece : len;

        copy = test_copy(p, piece);
        room = batch_json_bound_of(&m->j, piece);
        out = malloc(room);

        if (out == NULL) {
            abort();
        }

        before = m->j.offset;
        end = batch_json_feed(&m->j, copy, piece, out);

        if (end) {
            took = (size_t) (m->j.offset - before);
            ok(took == piece || (repair && took < piece), "all of it");
            ok((size_t) (end - out) <= room, "bound");

            memcpy(m->out + m->len, out, (size_t) (end - out));
            m->len += (size_t) (end - out);

            p += took;
            len -= took;
        }

        free(out);
        free(copy);

        if (end == NULL) {
            m->rc = BATCH_ERROR;
            return;
        }
    }

    m->rc = batch_json_finish(&m->j);
}


typedef struct {
    const char  *text;
    size_t       len;
    const char  *out;            /* NULL: it is no JSON even so */
} repair_row_t;

#define row(text, out)  { text, sizeof(text) - 1, out }

#define FFFD  "\xef\xbf\xbd"

static const repair_row_t  rows[] = {

    /* bytes that are no UTF-8: Unicode's own examples among them (3.9) */

    row("\"\xe4\xb8\"", "\"" FFFD "\""),
    row("\"a\xe4\xb8 b\"", "\"a" FFFD " b\""),
    row("\"\xf0\x9f\x98\"", "\"" FFFD "\""),
    row("\"\xf0\x9f\x98\xf0\x9f\x98\x80\"", "\"" FFFD "\xf0\x9f\x98\x80\""),
    row("\"\x80\xbf\xff\"", "\"" FFFD FFFD FFFD "\""),
    row("\"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41\"",
        "\"" FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "A\""),
    row("\"\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41\"",
        "\"" FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "A\""),
    row("\"\xf4\x91\x92\x93\xff\x41\x80\xbf\x42\"",
        "\"" FFFD FFFD FFFD FFFD FFFD "A" FFFD FFFD "B\""),
    row("\"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41\"",
        "\"" FFFD FFFD FFFD FFFD "A\""),
    row("{\"k\xff\": \"\xc3\"}", "{\"k" FFFD "\":\"" FFFD "\"}"),
    row("\"\xe2\x80\"", "\"" FFFD "\""),
    row("\"\xc2\xc2\x85\"", "\"" FFFD "\\u0085\""),
    row("\"\xe4\xb8\\n\"", "\"" FFFD "\\n\""),
    row("\"caf\xe9\"", "\"caf" FFFD "\""),

    /* surrogates */

    row("\"\\ud83d\"", "\"" FFFD "\""),
    row("\"\\ude00\"", "\"" FFFD "\""),
    row("\"\\ud83dx\"", "\"" FFFD "x\""),
    row("\"\\ud83d\\n\"", "\"" FFFD "\\n\""),
    row("\"\\ud83d\\u0041\"", "\"" FFFD "\\u0041\""),
    row("\"\\ud83d\\ud83d\\ude00\"", "\"" FFFD "\\ud83d\\ude00\""),
    row("\"\\ude00\\ud83d\"", "\"" FFFD FFFD "\""),
    row("\"\\uD83D\\uD83D\\uD83D\"", "\"" FFFD FFFD FFFD "\""),
    row("\"\\ud83d\xff\"", "\"" FFFD FFFD "\""),
    row("\"\\ud83d\x01\"", "\"" FFFD "\\u0001\""),
    row("\"\\ud83d\\u12\"", NULL),
    row("\"\\ud83d\\ud83d\\x\"", NULL),

    /* control characters are not lost */

    row("\"a\nb\rc\td\be\f\"", "\"a\\nb\\rc\\td\\be\\f\""),
    row("\"\x01\x1f\0\"", "\"\\u0001\\u001f\\u0000\""),
    row("{\"a\nb\":\"\x1b[0m\"}", "{\"a\\nb\":\"\\u001b[0m\"}"),
    row("\"\\\n\"", NULL),

    /* numbers that are none */

    row("NaN", "null"),
    row(" Infinity ", "null"),
    row("-Infinity", "null"),
    row("[NaN,Infinity,-Infinity,-1,- 1]", NULL),
    row("[ NaN , Infinity , -Infinity , -1, -0.5 ]",
        "[null,null,null,-1,-0.5]"),
    row("{\"logprob\":-Infinity}", "{\"logprob\":null}"),
    row("nan", NULL), row("-NaN", NULL), row("Inf", NULL), row("-Inf", NULL),
    row("-Infinit", NULL), row("Infinit", NULL), row("Na", NULL),
    row("Nan", NULL), row("NaN1", NULL), row("+Infinity", NULL),
    row("-", NULL), row("--Infinity", NULL), row("{NaN:1}", NULL),

    /* and what stays broken */

    row("\"\xe4\xb8", NULL), row("\"a", NULL), row("\"\\ud83d", NULL),
    row("\xff", NULL), row("\xff\"a\"", NULL), row("[\"a\xff\"", NULL),
    row("{\"a\":1\x01}", NULL), row("\"\\x\"", NULL), row("'a'", NULL),
    row("{\"a\":1,}", NULL), row("\"a\xff\" x", NULL), row("", NULL),
    row("None", NULL), row("undefined", NULL), row("<html>\xff", NULL)
};

#define ROWS  (sizeof(rows) / sizeof(rows[0]))


static void
same(const mended_t *a, const mended_t *b, const char *text)
{
    ok(a->rc == b->rc && a->j.offset == b->j.offset
       && a->j.error == b->j.error, "%.60s: the same verdict", text);

    if (a->rc == BATCH_OK && b->rc == BATCH_OK) {
        ok(a->len == b->len && memcmp(a->out, b->out, a->len) == 0
           && a->j.repaired == b->j.repaired
           && memcmp(&a->j.usage, &b->j.usage, sizeof(batch_usage_t)) == 0
           && a->j.model_len == b->j.model_len
           && memcmp(a->j.model, b->j.model, a->j.model_len) == 0,
           "%.60s: the same text", text);
    }
}


static void
splits(const void *text, size_t len, int repair)
{
    size_t           i;
    static mended_t  whole, cut;

    mend(&whole, text, len, len, len, repair);

    for (i = 1; i < len; i++) {
        mend(&cut, text, len, i, len, repair);
        same(&whole, &cut, text);
    }

    mend(&cut, text, len, 1, 1, repair);
    same(&whole, &cut, text);
}


static void
table(void)
{
    size_t               i;
    static mended_t      m, again;
    const repair_row_t  *r;

    for (i = 0; i < ROWS; i++) {
        r = &rows[i];

        mend(&m, r->text, r->len, r->len, r->len, 1);
        splits(r->text, r->len, 1);

        if (r->out == NULL) {
            ok(m.rc == BATCH_ERROR && m.j.error, "%zu: refused", i);
            continue;
        }

        ok(m.rc == BATCH_OK && m.j.repaired, "%zu: %s", i, m.j.error);
        ok(m.len == strlen(r->out) && memcmp(m.out, r->out, m.len) == 0,
           "%zu: %.*s", i, (int) m.len, (char *) m.out);

        mend(&again, m.out, m.len, m.len, m.len, 1);
        ok(again.rc == BATCH_OK && !again.j.repaired && again.len == m.len
           && memcmp(again.out, m.out, m.len) == 0, "%zu: sound now", i);
    }
}


/* what is sound, and what is beyond repair, is as without it */

static void
sound(void)
{
    size_t           i;
    static mended_t  a, b;

    for (i = 0; i < JSON_GOOD; i++) {
        mend(&a, json_good[i].text, json_good[i].len, json_good[i].len, 1, 0);
        mend(&b, json_good[i].text, json_good[i].len, json_good[i].len, 1, 1);

        if (b.j.repaired) {
            ok(strstr(json_good[i].text, "\\ud") != NULL
               || strstr(json_good[i].text, "\\uD") != NULL,
               "%s: half of a pair", json_good[i].text);
            continue;
        }

        same(&a, &b, json_good[i].text);
    }

    for (i = 0; i < JSON_BAD; i++) {
        splits(json_bad[i].text, json_bad[i].len, 1);
    }

    /* without repair nothing is mended */

    for (i = 0; i < ROWS; i++) {
        mend(&a, rows[i].text, rows[i].len, rows[i].len, 1, 0);
        ok(!a.j.repaired, "%zu: not asked for", i);
    }
}


static void
reads(void)
{
    static mended_t    m;
    static const char  text[] =
        "{\"model\":\"m\xff\x01\",\"x\":[NaN,\"\\ud800\"],"
        "\"usage\":{\"prompt_tokens\":7,\"total_tokens\":-Infinity,"
        "\"completion_tokens\":5,\"reasoning_tokens\":NaN}}";

    mend(&m, text, sizeof(text) - 1, sizeof(text) - 1, 1, 1);

    ok(m.rc == BATCH_OK && m.j.usage.input == 7 && m.j.usage.output == 5
       && m.j.usage.total == 12 && m.j.usage.reasoning == 0, "usage");
    ok(m.j.model_len == 10
       && memcmp(m.j.model, "m" FFFD "\\u0001", 10) == 0, "model %.*s",
       (int) m.j.model_len, (char *) m.j.model);

    splits(text, sizeof(text) - 1, 1);
}


/* the most that a piece can become */

static void
bound(void)
{
    static mended_t       m;
    static unsigned char  text[2000];

    memset(text, 1, sizeof(text));
    text[0] = '"';
    text[sizeof(text) - 1] = '"';

    mend(&m, text, sizeof(text), sizeof(text), 1, 1);
    ok(m.rc == BATCH_OK && m.len == 2 + 6 * (sizeof(text) - 2), "controls");

    memset(text, 0xff, sizeof(text) / 2);
    text[0] = '"';

    mend(&m, text, sizeof(text), sizeof(text), 1, 1);
    ok(m.rc == BATCH_OK, "broken bytes before them");
}


int
main(void)
{
    table();
    sound();
    reads();
    bound();

    return test_done("repair");
}
