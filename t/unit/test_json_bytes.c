/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Every byte in every kind of place of a JSON text, and UTF-8 by what it
 * decodes to: both parsers, and the compactor also at every split in two.
 */

#include "batch_json.h"
#include "batch_head.h"
#include "test.h"


static int
compactor(const unsigned char *p, size_t len, size_t cut)
{
    int             rc;
    size_t          i, n[2];
    batch_json_t    j;
    unsigned char  *copy, *out;

    n[0] = cut;
    n[1] = len - cut;
    rc = 1;

    batch_json_init(&j);

    for (i = 0; i < 2 && rc; i++) {
        copy = test_copy(p, n[i]);
        out = malloc(batch_json_bound(n[i]));

        if (out == NULL) {
            abort();
        }

        rc = (batch_json_feed(&j, copy, n[i], out) != NULL);
        p += n[i];

        free(out);
        free(copy);
    }

    return (batch_json_finish(&j) == BATCH_OK) && rc;
}


/* an object; good: what both must say of it */

static void
check(const void *text, size_t len, int good, const char *what, unsigned n)
{
    size_t          cut;
    batch_head_t    head;
    unsigned char  *copy;

    copy = test_copy(text, len);
    ok((batch_head_object(copy, len, 1, &head) == BATCH_OK) == good, "scanner: %s %04x", what, n);
    free(copy);

    for (cut = 0; cut <= len; cut++) {
        ok(compactor(text, len, cut) == good, "compactor: %s %04x cut at %zu",
           what, n, cut);
    }
}


#define put(s, at, c, good, what)                                             \
    {                                                                         \
        char  text_[] = s;                                                    \
                                                                              \
        text_[at] = (char) (c);                                               \
        check(text_, sizeof(text_) - 1, good, what, c);                       \
    }


static void
escapes(void)
{
    unsigned  c;
    int       hex;

    for (c = 0; c < 256; c++) {
        hex = c && strchr("0123456789abcdefABCDEF", (int) c) != NULL;

        put("{\"k\":\"\\?\"}", 7, c, c && strchr("\"\\/bfnrt", (int) c),
            "escape");
        put("{\"\\?\":0}", 3, c, c && strchr("\"\\/bfnrt", (int) c),
            "escape in a key");
        put("{\"k\":\"\\u?000\"}", 8, c, hex, "digit 1");
        put("{\"k\":\"\\u0?00\"}", 9, c, hex, "digit 2");
        put("{\"k\":\"\\u00?0\"}", 10, c, hex, "digit 3");
        put("{\"k\":\"\\u000?\"}", 11, c, hex, "digit 4");
    }
}


/* a byte where there may be white space, and where a value begins or goes on */

static void
outside(void)
{
    unsigned  c;
    int       space, digit;

    for (c = 0; c < 256; c++) {
        space = (c == ' ' || c == '\t' || c == '\r' || c == '\n');
        digit = (c >= '0' && c <= '9');

        put("?{\"k\":1}", 0, c, space, "before");
        put("{?\"k\":1}", 1, c, space, "after the brace");
        put("{\"k\"?:1}", 4, c, space, "before the colon");
        put("{\"k\":?1}", 5, c, space || c == '-' || (c > '0' && digit),
            "after the colon");
        put("{\"k\":1?}", 6, c, space || digit, "after a number");
        put("{\"k\":[1?]}", 7, c, space || digit, "in an array");
        put("{\"k\":[1,?2]}", 8, c, space || c == '-' || (c > '0' && digit),
            "after a comma");
        put("{\"k\":[]?}", 7, c, space, "after an array");
        put("{\"k\":\"\"?,\"l\":0}", 7, c, space, "after a string");
        put("{\"k\":1}?", 7, c, space, "at the end");

        put("{\"k\":?}", 5, c, digit, "alone");
        put("{\"k\"?1}", 4, c, c == ':', "for the colon");
        put("{\"k\":1?\"l\":2}", 6, c, c == ',', "for the comma");
        put("{\"k\":[1?2]}", 7, c,
            digit || c == ',' || c == '.' || c == 'e' || c == 'E',
            "between digits");
        put("{\"k\":?]}", 5, c, c == '[', "for the bracket");
        put("{\"k\":[?}", 6, c, c == ']', "for its end");
        put("?\"k\":1}", 0, c, c == '{', "for the brace");
        put("{\"k\":1?", 6, c, c == '}', "for the last one");
        put("{?k\":1}", 1, c, c == '"', "for a key's quote");
        put("{\"k?:1}", 3, c, c == '"', "for its end");
        put("{\"k\":tru?}", 8, c, c == 'e', "literal");
        put("{\"k\":nul?}", 8, c, c == 'l', "literal");
        put("{\"k\":?alse}", 5, c, c == 'f', "literal");
        put("{\"k\":-?}", 6, c, digit, "after a minus");
        put("{\"k\":0?}", 6, c, space, "after a zero");
        put("{\"k\":1.?}", 7, c, digit, "after a point");
        put("{\"k\":1e?}", 7, c, digit, "after an e");
        put("{\"k\":1e?0}", 7, c, digit || c == '+' || c == '-', "sign");
    }
}


/* is it the shortest form of one character that may be */

static int
shortest(const unsigned char *p, size_t len)
{
    size_t                       i, n;
    unsigned long                code;
    static const unsigned long   least[] = { 0, 0, 0x80, 0x800, 0x10000 };

    n = p[0] < 0x80 ? 1 : (p[0] >> 5) == 6 ? 2 : (p[0] >> 4) == 14 ? 3
        : (p[0] >> 3) == 30 ? 4 : 0;

    if (n != len) {
        return 0;
    }

    code = (n == 1) ? p[0] : p[0] & (0xffu >> (n + 1));

    for (i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }

        code = code << 6 | (p[i] & 0x3f);
    }

    return code >= least[n] && code <= 0x10ffff
           && (code < 0xd800 || code > 0xdfff);
}


/* a string of len bytes is a row of such characters */

static int
characters(const unsigned char *p, size_t len)
{
    size_t  n;

    while (len) {
        for (n = 1; n <= 4 && n <= len && !shortest(p, n); n++) { /* void */ }

        if (n > 4 || n > len) {
            return 0;
        }

        if (n == 1 && (*p < 0x20 || *p == '"' || *p == '\\')) {
            return 0;
        }

        p += n;
        len -= n;
    }

    return 1;
}


static void
sequence(const unsigned char *p, size_t len)
{
    size_t         n;
    unsigned char  text[32];

    memcpy(text, "{\"k\":\"", 6);
    memcpy(text + 6, p, len);
    memcpy(text + 6 + len, "\"}", 2);
    n = len + 8;

    check(text, n, characters(p, len), "UTF-8",
          (unsigned) p[0] << 8 | (len > 1 ? p[1] : 0));
}


/* first bytes: all; the others: the ends of each range that means something */

static void
utf8(void)
{
    size_t                      a, b, c;
    unsigned                    first;
    unsigned char               s[4];
    static const unsigned char  edges[] = {
        0x00, 0x1f, 0x20, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2,
        0xe0, 0xed, 0xf0, 0xf4, 0xff
    };

    for (first = 0; first < 256; first++) {
        s[0] = (unsigned char) first;

        if (first != '"' && first != '\\') {
            sequence(s, 1);
        }

        if (first < 0x7f) {
            continue;
        }

        for (a = 0; a < sizeof(edges); a++) {
            s[1] = edges[a];
            sequence(s, 2);

            if (first < 0xe0) {
                continue;
            }

            for (b = 0; b < sizeof(edges); b++) {
                s[2] = edges[b];
                sequence(s, 3);

                for (c = 0; first >= 0xf0 && c < sizeof(edges); c += 2) {
                    s[3] = edges[c];
                    sequence(s, 4);
                }
            }
        }
    }
}


int
main(void)
{
    escapes();
    outside();
    utf8();

    return test_done("json, bytes");
}
