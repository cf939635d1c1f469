/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "batch_multipart.h"
#include "test.h"

#include <time.h>


/* what a body gives, written down as text; DATA pieces joined */

typedef struct {
    size_t       len;
    char         text[65536];
    int          done;
    int          rc;
    const char  *error;
} trace_t;


static void
trace_add(trace_t *t, const void *p, size_t len)
{
    if (t->len + len > sizeof(t->text)) {
        abort();
    }

    memcpy(t->text + t->len, p, len);
    t->len += len;
}


/* takes all events that the piece gives; 0 after an error */

static int
trace_piece(trace_t *t, batch_multipart_t *mp, const unsigned char *p,
    size_t len)
{
    int                   more;
    unsigned char        *copy;
    const unsigned char  *pos;

    copy = test_copy(p, len);
    pos = copy;
    more = -1;

    while (more == -1) {
        switch (batch_multipart_next(mp, &pos, copy + len)) {

        case BATCH_MP_AGAIN:
            ok(pos == copy + len, "AGAIN before the end of the input");
            more = 1;
            break;

        case BATCH_MP_PART:
            trace_add(t, "<", 1);
            trace_add(t, mp->name, mp->name_len);

            if (mp->has_filename) {
                trace_add(t, "|", 1);
                trace_add(t, mp->filename, mp->filename_len);
            }

            trace_add(t, "|", 1);
            trace_add(t, mp->type, mp->type_len);
            trace_add(t, ":", 1);
            break;

        case BATCH_MP_DATA:
            ok(mp->data.len > 0, "empty DATA");
            trace_add(t, mp->data.data, mp->data.len);
            break;

        case BATCH_MP_PART_END:
            trace_add(t, ">", 1);
            break;

        case BATCH_MP_DONE:
            t->done++;
            trace_add(t, "$", 1);
            break;

        default:
            t->error = mp->error;
            more = 0;
            ok(batch_multipart_next(mp, &pos, copy + len) == BATCH_MP_ERROR,
               "an error stays");
        }
    }

    free(copy);

    return more;
}


/* pieces: their ends, ascending */

static void
trace(trace_t *t, const char *type, const void *body, size_t len,
    const size_t *ends, size_t n)
{
    size_t                     i, from, to;
    static batch_multipart_t   mp;

    memset(t, 0, offsetof(trace_t, text));
    t->done = 0;
    t->error = NULL;

    if (batch_multipart_init(&mp, (const unsigned char *) type, strlen(type))
        != BATCH_OK)
    {
        t->error = mp.error;
        t->rc = BATCH_ERROR;
        return;
    }

    for (i = 0, from = 0; i <= n; i++, from = to) {
        to = (i < n) ? ends[i] : len;

        if (!trace_piece(t, &mp, (const unsigned char *) body + from,
                         to - from))
        {
            break;
        }
    }

    t->rc = batch_multipart_finish(&mp);
    t->error = (t->rc == BATCH_OK) ? NULL : mp.error;
    ok(t->rc == BATCH_OK || mp.error != NULL, "a reason");
}


static int
same(const trace_t *a, const trace_t *b)
{
    return a->rc == b->rc && a->error == b->error && a->done == b->done
           && a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}


/*
 * Every cut in two, single bytes; of a short body every cut in three.  After
 * an error the data of the last part may differ: the caller must not use it.
 */

static void
splits(const char *type, const void *body, size_t len, int three)
{
    size_t          i, k, ends[2];
    static size_t   ones[65536];
    static trace_t  whole, cut;

    trace(&whole, type, body, len, NULL, 0);

    for (i = 0; i <= len; i++) {
        ones[i] = i + 1;
        ends[0] = i;
        trace(&cut, type, body, len, ends, 1);
        ok(same(&whole, &cut), "cut at %zu: %.*s, %.*s", i,
           (int) whole.len, whole.text, (int) cut.len, cut.text);

        for (k = i; three && k <= len; k++) {
            ends[1] = k;
            trace(&cut, type, body, len, ends, 2);
            ok(same(&whole, &cut), "cut at %zu and %zu", i, k);
        }
    }

    trace(&cut, type, body, len, ones, len ? len - 1 : 0);
    ok(same(&whole, &cut), "in bytes: %.*s", (int) cut.len, cut.text);
}


typedef struct {
    size_t       len;
    const char  *body;
    const char  *trace;              /* NULL: must be refused */
} body_row_t;

#define TYPE     "multipart/form-data; boundary=b0"
#define GOOD(b, t)  { sizeof(b) - 1, b, t }
#define BAD(b)      { sizeof(b) - 1, b, NULL }
#define CD       "Content-Disposition: form-data; "
#define A        "--b0\r\n" CD "name=\"a\"\r\n\r\n"
#define END      "\r\n--b0--\r\n"
#define H(h)     "--b0\r\n" h "\r\n\r\nx" END
#define FN(f)    H(CD "name=\"f\"; " f)

static const body_row_t  bodies[] = {
    GOOD(A "x" END, "<a|:x>$"),
    GOOD(A END, "<a|:>$"),
    GOOD(A "\r\n" END, "<a|:\r\n>$"),
    GOOD(A "--b0--", "<a|:>$"),
    GOOD(A "--b1--" END, "<a|:--b1-->$"),
    GOOD(A "--b" END, "<a|:--b>$"),
    GOOD(A "x\r\n--b0--", "<a|:x>$"),
    GOOD(A "x\r\n--b0--\r", "<a|:x>$"),
    GOOD(A "x\r\n--b0-- \r\nepilogue\r\n--b0\r\n", "<a|:x>$"),
    GOOD("preamble\r\n" A "x" END, "<a|:x>$"),
    GOOD("\r\n" A "x" END, "<a|:x>$"),
    GOOD("--b\r\n--b0" "x--b0\r\n", NULL),
    GOOD("-\r\n" A "x" END, "<a|:x>$"),
    GOOD("--b0--", "$"),
    GOOD("x" A "x" END, "$"),
    GOOD("--b0 \t \r\n" CD "name=a\r\n\r\nx\r\n--b0\t\r\n" CD "name=b\r\n\r\n"
         "y\r\n--b0--", "<a|:x><b|:y>$"),
    GOOD(A "\r\r\n-\r\n--\r\n--b\r\n--b1\r\n\r\n--b\r--b0\n--b0\r-" END,
         "<a|:\r\r\n-\r\n--\r\n--b\r\n--b1\r\n\r\n--b\r--b0\n--b0\r->$"),
    GOOD(A "\r\n-\r\n--b\r\n--b0--", "<a|:\r\n-\r\n--b>$"),
    GOOD(A "\r\n\r\n--b\r\r\n--b0--", "<a|:\r\n\r\n--b\r>$"),
    GOOD(A "0123456789abcdef0123456789abcdef\r\n--b0x1" END, NULL),
    GOOD(A "0123456789abcdef0123456789\r\n--b00123456789abcdef" END, NULL),
    GOOD(A "0123456789abcdef\r\n--a00123456789abcdef0123456789" END,
         "<a|:0123456789abcdef\r\n--a00123456789abcdef0123456789>$"),
    GOOD(A "purpose last\r\n" "--b0\r\n" CD "name=\"file\"; filename=\"q.jsonl"
         "\"\r\nContent-Type: application/octet-stream\r\n\r\n{}\r\n" END,
         "<a|:purpose last><file|q.jsonl|application/octet-stream:{}\r\n>$"),

    /* headers */

    GOOD(H("Content-Type: text/plain; charset=utf-8 \t\r\ncontent-DISPOSITION:"
           "form-data;name=a"), "<a|text/plain; charset=utf-8:x>$"),
    GOOD(H("X-Other: \x01\r\n" CD "name=a;"), "<a|:x>$"),
    GOOD(H(CD "x=\"name=b\"; NAME=\"a\""), "<a|:x>$"),
    GOOD(H(CD "name=\"a\\\"\\\\b\""), "<a\"\\b|:x>$"),
    GOOD(H(CD "name=a[b]=c"), "<a[b]=c|:x>$"),
    GOOD(H(CD "name=\"f\x01\xff\""), "<f__|:x>$"),
    GOOD(H(CD "name=a\r\nContent-Transfer-Encoding: binary"), "<a|:x>$"),
    GOOD(H(CD "name=a\r\nContent-Transfer-Encoding: 8BIT"), "<a|:x>$"),

    /* names of files, as clients write them and as attackers do */

    GOOD(FN("filename=\"a.jsonl\""), "<f|a.jsonl|:x>$"),
    GOOD(FN("filename=a.jsonl"), "<f|a.jsonl|:x>$"),
    GOOD(H(CD "name=file; filename=x; filename*=utf-8''x%20y"),
         "<file|x y|:x>$"),
    GOOD(FN("filename*=UTF-8'en'%e2%82%ac.jsonl; filename=\"no\""),
         "<f|\xe2\x82\xac.jsonl|:x>$"),
    GOOD(FN("filename=\"q%22uo%22te\""), "<f|q\"uo\"te|:x>$"),
    GOOD(FN("filename=\"q\\\"uo\\\"te\""), "<f|q\"uo\"te|:x>$"),
    GOOD(FN("filename=\"in%20put%20%C3%A9\""), "<f|in%20put%20%C3%A9|:x>$"),
    GOOD(FN("filename=\"%00%0d%0a%2\""), "<f|%00%0d%0a%2|:x>$"),
    GOOD(FN("filename=\"../../etc/passwd\""), "<f|passwd|:x>$"),
    GOOD(FN("filename=\"C:\\x\""), "<f|x|:x>$"),
    GOOD(FN("filename=\"C:\\\\dir\\\\x\""), "<f|x|:x>$"),
    GOOD(FN("filename*=utf-8''..%2f..%5Cy"), "<f|y|:x>$"),
    GOOD(FN("filename=\".\""), "<f||:x>$"),
    GOOD(FN("filename=\"a/..\""), "<f||:x>$"),
    GOOD(FN("filename=\"...\""), "<f|...|:x>$"),
    GOOD(FN("filename=\"\""), "<f||:x>$"),
    GOOD(FN("filename="), "<f||:x>$"),
    GOOD(FN("filename=\"a/\""), "<f||:x>$"),
    GOOD(FN("filename=\"a\x01\x1f\x7f\tz\""), "<f|a____z|:x>$"),
    GOOD(FN("filename=\"\xf0\x9f\x98\x80.jsonl\""),
         "<f|\xf0\x9f\x98\x80.jsonl|:x>$"),
    GOOD(FN("filename=\"\xe9\xc2\x9b\""), "<f|__|:x>$"),
    GOOD(FN("filename*=utf-8''%00%0d%0Aa%ff"), "<f|___a_|:x>$"),

    BAD(FN("filename=\"a\";filename=\"b\"")),
    BAD(FN("filename*=utf-8''a;filename*=utf-8''b")),
    BAD(FN("filename=\"a\\\"")),
    BAD(FN("filename=\"a")),
    BAD(FN("filename=a\"b")),
    BAD(FN("filename=\"a\"b")),
    BAD(FN("filename*=iso-8859-1''a")),
    BAD(FN("filename*=utf-8'a")),
    BAD(FN("filename*=a")),
    BAD(FN("filename*=utf-8''%4")),
    BAD(FN("filename*=utf-8''%zz")),
    BAD(FN("filename")),
    BAD(FN("=x")),
    BAD(FN("filename = x")),
    BAD(H(CD "name=\"a\"; name=\"b\"")),
    BAD(H(CD "name=\"a\" name=\"b\"")),
    BAD(H(CD "name=\"\"")),
    BAD(H(CD "filename=\"a\"")),
    BAD(H("Content-Disposition: form-data")),
    BAD(H("Content-Disposition: attachment; name=a")),
    BAD(H("Content-Disposition: form-datax; name=a")),
    BAD(H("Content-Disposition:")),
    BAD(H(CD "name=a\r\n" CD "name=a")),
    BAD(H("Content-Type: text/plain")),
    BAD("--b0\r\n\r\nx" END),
    BAD(H(CD "name=a\r\nContent-Transfer-Encoding: base64")),
    BAD(H(CD "name=a\r\nContent-Transfer-Encoding: Quoted-Printable")),
    BAD(H(CD "name=a\r\nContent-Type: multipart/mixed; boundary=x")),
    BAD(H(CD "name=a\r\nContent-Type: Multipart/Mixed")),
    BAD(H(CD "name=a\r\nContent-Type: a/b\r\ncontent-type: a/b")),
    BAD(H(CD "\r\n name=a")),
    BAD(H(" " CD "name=a")),
    BAD(H(CD "name=a\r\nNo colon")),
    BAD(H(CD "name=a\r\n: x")),
    BAD(H(CD "name=a\r\nX : x")),
    BAD(H(CD "name=a\r\nX: \0")),
    BAD(H(CD "name=a\nX: y")),
    BAD(H("X: yy\n" CD "name=a")),
    BAD(H(CD "name=a\rX: y")),
    BAD("--b0\r\n" CD "name=a\n\nx" END),
    BAD("--b0\r\n" CD "name=a\r\n\nx" END),
    BAD("--b0\n" CD "name=a\r\n\r\nx" END),

    /* framing */

    BAD(""),
    BAD("x"),
    BAD("--b0"),
    BAD("--b0-"),
    BAD("--b0\r\n"),
    BAD(A),
    BAD(A "x"),
    BAD(A "x\r\n--b0"),
    BAD(A "x\r\n--b0-"),
    BAD(A "x\r\n--b0\r\n"),
    BAD(A "x\r\n--b1--\r\n"),
    BAD(A "x\n--b0--\r\n"),
    BAD(A "x\r\n--b0x\r\n"),
    BAD(A "x\r\n--b0-x\r\n"),
    BAD(A "x\r\n--b0 --\r\n"),
    BAD(A "x\r\n--b0 x\r\n"),
    BAD(A "x\r\n--b0\rx"),
    BAD("x" A "x\r\n--b0\r\n")
};


typedef struct {
    const char  *type;
    const char  *boundary;           /* NULL: must be refused */
} type_row_t;

#define B35  "01234567890123456789012345678901234"
#define B70  B35 B35

static const type_row_t  types[] = {
    { "multipart/form-data; boundary=abc", "abc" },
    { "multipart/form-data;boundary=abc", "abc" },
    { "MULTIPART/Form-Data ; BOUNDARY=aBc", "aBc" },
    { "multipart/form-data; charset=utf-8; boundary=abc", "abc" },
    { "multipart/form-data; boundary=abc; charset=utf-8;", "abc" },
    { "multipart/form-data; boundary=\"abc\"", "abc" },
    { "multipart/form-data; boundary=\"a=b c'()+_,-./:?\"",
      "a=b c'()+_,-./:?" },
    { "multipart/form-data; boundary=\"a;b\"", NULL },
    { "multipart/form-data; boundary=a=b", "a=b" },
    { "multipart/form-data; boundary=" B70, B70 },
    { "multipart/form-data; boundary=\"" B70 "\"", B70 },
    { "multipart/form-data; boundary=" B70 "x", NULL },
    { "multipart/form-data; boundary=" B70 B70 B70, NULL },
    { "multipart/form-data; boundary=", NULL },
    { "multipart/form-data; boundary=\"\"", NULL },
    { "multipart/form-data; boundary=\"a ", NULL },
    { "multipart/form-data; boundary=\"a \"", NULL },
    { "multipart/form-data; boundary", NULL },
    { "multipart/form-data; boundary=a; boundary=a", NULL },
    { "multipart/form-data; boundary=a; Boundary=b", NULL },
    { "multipart/form-data; boundary=a@b", NULL },
    { "multipart/form-data; boundary=\"a\\\"b\"", NULL },
    { "multipart/form-data; boundary=\xc3\xa9", NULL },
    { "multipart/form-data; boundary=a b", NULL },
    { "multipart/form-data; boundary=a\r\nb", NULL },
    { "multipart/form-data", NULL },
    { "multipart/form-data;", NULL },
    { "multipart/form-datax; boundary=a", NULL },
    { "multipart/form-dat; boundary=a", NULL },
    { "multipart/mixed; boundary=a", NULL },
    { "application/json", NULL },
    { "boundary=a", NULL },
    { "", NULL }
};


static void
boundaries(void)
{
    char                text[1024];
    size_t              i, len;
    static trace_t      t;
    const type_row_t   *row;

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        row = &types[i];
        len = (size_t) sprintf(text, "--%s\r\n" CD "name=a\r\n\r\nx\r\n--%s--",
                               row->boundary ? row->boundary : "a",
                               row->boundary ? row->boundary : "a");

        trace(&t, row->type, text, len, NULL, 0);

        if (row->boundary) {
            ok(t.rc == BATCH_OK && t.len == 7
               && memcmp(t.text, "<a|:x>$", 7) == 0, "%s: %s", row->type,
               t.error);
        } else {
            ok(t.rc == BATCH_ERROR && t.error != NULL && t.len == 0, "%s",
               row->type);
        }
    }
}


/* the same with a longer boundary: s with each b0 replaced */

static size_t
lengthen(char *out, const char *s, size_t len)
{
    size_t  i, n;

    for (i = 0, n = 0; i < len; i++) {
        out[n++] = s[i];

        if (s[i] == '0' && i && s[i - 1] == 'b') {
            memcpy(out + n, "-123456789abcdefghi", 19);
            n += 19;
        }
    }

    return n;
}


static void
table_long(void)
{
    char               type[128], body[2048], expected[512];
    size_t             i, len, n;
    static trace_t     t;
    const body_row_t  *row;

    type[lengthen(type, TYPE, sizeof(TYPE) - 1)] = '\0';

    for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        row = &bodies[i];
        len = lengthen(body, row->body, row->len);
        trace(&t, type, body, len, NULL, 0);

        if (row->trace) {
            n = lengthen(expected, row->trace, strlen(row->trace));
            ok(t.rc == BATCH_OK && t.len == n
               && memcmp(t.text, expected, n) == 0,
               "%s -> %.*s (%s)", row->body, (int) t.len, t.text, t.error);
        } else {
            ok(t.rc == BATCH_ERROR, "refuse %s", row->body);
        }

        splits(type, body, len, 0);
    }
}


static void
table(void)
{
    size_t             i;
    static trace_t     t;
    const body_row_t  *row;

    for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        row = &bodies[i];
        trace(&t, TYPE, row->body, row->len, NULL, 0);

        if (row->trace) {
            ok(t.rc == BATCH_OK && t.len == strlen(row->trace)
               && memcmp(t.text, row->trace, t.len) == 0,
               "%s -> %.*s (%s)", row->body, (int) t.len, t.text, t.error);
        } else {
            ok(t.rc == BATCH_ERROR, "refuse %s", row->body);
        }

        splits(TYPE, row->body, row->len, row->len < 90 && i < 20);
    }
}


typedef struct {
    char    *text;
    size_t   len;
} buf_t;


static void
put(buf_t *b, const char *s, size_t times)
{
    while (times--) {
        memcpy(b->text + b->len, s, strlen(s));
        b->len += strlen(s);
    }
}


/* one more than each limit is refused, the limit itself is not */

static void
limits(void)
{
    buf_t           b;
    size_t          n, name;
    static trace_t  t;

    b.text = malloc(200000);

#define check(good, what)                                                     \
    trace(&t, TYPE, b.text, b.len, NULL, 0);                                  \
    ok((t.rc == BATCH_OK) == (good), "%s, %zu: %s", what, n,                  \
       t.error ? t.error : "accepted")

    for (n = BATCH_MP_MAX_PARTS - 1; n <= BATCH_MP_MAX_PARTS + 1; n++) {
        b.len = 0;
        put(&b, A "x\r\n", n);
        put(&b, "--b0--", 1);
        check(n <= BATCH_MP_MAX_PARTS, "parts");
    }

    for (n = BATCH_MP_MAX_HEADERS - 1; n <= BATCH_MP_MAX_HEADERS + 1; n++) {
        b.len = 0;
        put(&b, "--b0\r\n" CD "name=a\r\n", 1);
        put(&b, "X: y\r\n", n - 1);
        put(&b, "\r\nx" END, 1);
        check(n <= BATCH_MP_MAX_HEADERS, "headers");
    }

    for (n = BATCH_MP_HEADER_SIZE - 1; n <= BATCH_MP_HEADER_SIZE + 1; n++) {
        b.len = 0;
        put(&b, "--b0\r\n", 1);
        name = b.len;
        put(&b, CD "name=a\r\nX: ", 1);
        put(&b, "y", n - 4 - (b.len - name));
        put(&b, "\r\n\r\nx" END, 1);
        check(n <= BATCH_MP_HEADER_SIZE, "bytes of headers");
    }

    for (n = BATCH_MP_MAX_PREAMBLE - 1; n <= BATCH_MP_MAX_PREAMBLE + 1; n++) {
        b.len = 0;
        put(&b, "p", n);
        put(&b, "\r\n" A "x" END, 1);
        check(n <= BATCH_MP_MAX_PREAMBLE, "preamble");

        b.len = 0;
        put(&b, A "x\r\n--b0--", 1);
        put(&b, "e", n);
        check(n <= BATCH_MP_MAX_PREAMBLE, "epilogue");
    }

    for (n = BATCH_MP_NAME_MAX - 1; n <= BATCH_MP_NAME_MAX + 1; n++) {
        b.len = 0;
        put(&b, "--b0\r\n" CD "name=\"", 1);
        put(&b, "n", n);
        put(&b, "\"\r\n\r\nx" END, 1);
        check(n <= BATCH_MP_NAME_MAX, "name");
    }

    /* a long file name is cut, and not inside a character */

    for (n = 250; n <= 4000; n += (n < 260) ? 1 : 800) {
        b.len = 0;
        put(&b, "--b0\r\n" CD "name=f; filename=\"", 1);
        put(&b, "n", n);
        put(&b, "\xf0\x9f\x98\x80\"\r\n\r\nx" END, 1);
        check(1, "file name");

        name = (n + 4 <= BATCH_MP_FILENAME_MAX) ? n + 4
               : (n < BATCH_MP_FILENAME_MAX) ? n : BATCH_MP_FILENAME_MAX;
        ok(t.len == 3 + name + 5, "file name of %zu kept as %zu", n,
           t.len - 8);
    }

    /* headers that never end */

    n = 0;
    b.len = 0;
    put(&b, "--b0\r\nX: ", 1);
    put(&b, "y", 100000);
    check(0, "endless header");

    free(b.text);
}


/* nothing is lost from a long body in the pieces of a socket */

static void
large(void)
{
    size_t                n, total;
    uint64_t              seed;
    unsigned char        *body;
    const unsigned char  *pos, *end, *data;
    batch_multipart_event_e      event;

    static batch_multipart_t  mp;
    static const char         head[] = A;
    static const char        *bits[] = {
        "\r", "\n", "-", "\r\n", "\r\n--", "\r\n--b", "\r\n--b1", "x",
        "0123456789abcdef", "--b0"
    };

    body = malloc(500000);
    n = sizeof(head) - 1;
    memcpy(body, head, n);
    seed = 20240601;

    /* the first byte keeps "--b0" from being a delimiter of the empty line */
    body[n++] = 'x';

    while (n < 400000) {
        end = (const unsigned char *) bits[test_random(&seed) % 10];
        memcpy(body + n, end, strlen((const char *) end));
        n += strlen((const char *) end);

        /* "\r\n" and "--b0" may meet: then put something between */

        if (memcmp(body + n - 6, "\r\n--b0", 6) == 0) {
            body[n - 1] = '1';
        }

        if (memcmp(body + n - 5, "\r\n--b", 5) == 0) {
            body[n++] = '2';
        }
    }

    total = n - (sizeof(head) - 1);
    memcpy(body + n, END, sizeof(END) - 1);
    n += sizeof(END) - 1;

    ok(batch_multipart_init(&mp, (const unsigned char *) TYPE,
                            sizeof(TYPE) - 1) == BATCH_OK, "init");

    pos = body;
    data = body + sizeof(head) - 1;
    end = body;
    event = BATCH_MP_AGAIN;

    while (event != BATCH_MP_ERROR) {
        event = batch_multipart_next(&mp, &pos, end);

        if (event == BATCH_MP_DATA) {
            if (memcmp(data, mp.data.data, mp.data.len) != 0) {
                break;
            }

            data += mp.data.len;
        }

        if (event == BATCH_MP_AGAIN) {
            if (end == body + n) {
                break;
            }

            end += 1 + test_random(&seed) % 300;

            if (end > body + n) {
                end = body + n;
            }
        }
    }

    ok(event == BATCH_MP_AGAIN && batch_multipart_finish(&mp) == BATCH_OK,
       "large: %s", mp.error);
    ok((size_t) (data - body) == sizeof(head) - 1 + total, "all its bytes");

    free(body);
}


/* CPU seconds for 16 MB of a repeated text, in pieces of 16 KB */

static double
flood(const char *text)
{
    size_t                len, i;
    clock_t               start;
    unsigned char        *piece;
    const unsigned char  *pos;
    batch_multipart_event_e      event;

    static batch_multipart_t  mp;

    len = strlen(text);
    piece = malloc(16384);

    for (i = 0; i < 16384; i++) {
        piece[i] = (unsigned char) text[i % len];
    }

    (void) batch_multipart_init(&mp, (const unsigned char *) TYPE "123456789"
                                "0123456789012345678901234567890",
                                sizeof(TYPE) - 1 + 40);
    start = clock();

    for (i = 0; i <= 1024; i++) {
        pos = i ? piece : (const unsigned char *)
              "--b01234567890123456789012345678901234567890\r\n" CD
              "name=a\r\n\r\n";
        do {
            event = batch_multipart_next(&mp, &pos, i ? piece + 16384
                        : pos + strlen((const char *) pos));
        } while (event != BATCH_MP_AGAIN && event != BATCH_MP_ERROR);
    }

    ok(mp.parts == 1 && event == BATCH_MP_AGAIN, "flood of %s", text);
    free(piece);

    return (double) (clock() - start) / CLOCKS_PER_SEC;
}


/* bodies damaged at random: any split must say the same */

static void
mutate(void)
{
    int                 i, k;
    char                text[1024];
    size_t              len, cut;
    uint64_t            seed;
    static trace_t      whole, pieces;
    const body_row_t   *row;
    static const char   bytes[] = "\r\n-b0 :;=\"\\%'*\0x";

    seed = 0x2545f4914f6cdd1d;

    for (i = 0; i < 20000; i++) {
        do {
            row = &bodies[test_random(&seed)
                          % (sizeof(bodies) / sizeof(bodies[0]))];
        } while (row->len == 0);

        len = row->len;
        memcpy(text, row->body, len);

        for (k = (int) (test_random(&seed) % 4); k >= 0; k--) {
            text[test_random(&seed) % len] =
                bytes[test_random(&seed) % (sizeof(bytes) - 1)];
        }

        cut = test_random(&seed) % (len + 1);
        trace(&whole, TYPE, text, len, NULL, 0);
        trace(&pieces, TYPE, text, len, &cut, 1);
        ok(same(&whole, &pieces), "%.*s cut at %zu", (int) len, text, cut);
    }
}


int
main(void)
{
    double  quiet, cr, crlf, prefix;

    boundaries();
    table();
    table_long();
    limits();
    large();
    mutate();

    quiet = flood("x");
    cr = flood("\r");
    crlf = flood("\r\n--");
    prefix = flood("\r\n--b0123456789012345678901234567890123456789!");

    /* the bound is wide: it tells linear (milliseconds) from quadratic */

    ok(cr < quiet + 2 && crlf < quiet + 2 && prefix < quiet + 2,
       "x %f, CR %f, CRLF-- %f, prefixes %f s", quiet, cr, crlf, prefix);

    return test_done("multipart");
}
