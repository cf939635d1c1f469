/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What comes out of paths and queries: ids, against the C library's idea of
 * their regular expression; names of states; and any text on its way into
 * JSON and back, or made showable.
 */

#include "batch_escape.h"
#include "batch_id.h"
#include "batch_json.h"
#include "batch_scan.h"
#include "batch_status.h"
#include "batch_text.h"
#include "batch_token.h"
#include "batch_utf8.h"
#include "fuzz.h"

#include <regex.h>


#define KINDS  4


static regex_t  expressions[KINDS];


static void
compile(void)
{
    unsigned     i;
    char         text[64];
    static int   ready;

    static const char  *names[KINDS] = { "file", "batch", "upload", "part" };

    for (i = 0; i < KINDS && !ready; i++) {
        (void) snprintf(text, sizeof(text), "^%s[-_][A-Za-z0-9]{22,32}$",
                        names[i]);
        must(regcomp(&expressions[i], text, REG_EXTENDED | REG_NOSUB) == 0);
    }

    ready = 1;
}


static void
ids(const unsigned char *p, size_t len)
{
    int       expected;
    char     *text;
    unsigned  i;

    text = fuzz_alloc(len + 1);
    memcpy(text, p, len);
    text[len] = '\0';

    for (i = 0; i < KINDS; i++) {
        expected = memchr(text, '\0', len) == NULL
                   && regexec(&expressions[i], text, 0, NULL, 0) == 0;

        must(batch_id_check((batch_id_kind_e) i, p, len) == expected);
        must(!expected || len < BATCH_ID_LEN);
    }

    must(batch_id_check((batch_id_kind_e) KINDS, p, len) == 0);

    free(text);
}


static void
status(const unsigned char *p, size_t len)
{
    int          s;
    const char  *name;

    s = batch_status_parse(p, len);
    must(s >= -1 && s < BATCH_STATUS_N);

    if (s >= 0) {
        name = batch_status_name((batch_status_e) s);
        must(strlen(name) == len && memcmp(name, p, len) == 0);
    }
}


static int
is_utf8(const unsigned char *p, size_t len)
{
    int  n;

    while (len) {
        n = batch_utf8_length(p, len);

        if (n <= 0) {
            return 0;
        }

        p += n;
        len -= (size_t) n;
    }

    return 1;
}


/* escaped it is a string of JSON, and it comes back if it was UTF-8 */

static void
escape(const unsigned char *p, size_t len)
{
    size_t          n;
    batch_str_t     token;
    batch_json_t    j;
    unsigned char  *text, *end, *out;

    text = fuzz_alloc(6 * len + 2);
    text[0] = '"';
    end = batch_escape_string(text + 1, p, len);
    must((size_t) (end - text) <= 6 * len + 1);
    *end++ = '"';

    token.data = text;
    token.len = (size_t) (end - text);

    out = fuzz_alloc(batch_json_bound(token.len));
    batch_json_init(&j);

    end = batch_json_feed(&j, text, token.len, out);
    must(end != NULL && batch_json_finish(&j) == BATCH_OK);

    /* nothing is left to be escaped */
    must((size_t) (end - out) == token.len);
    must(memcmp(out, text, token.len) == 0);

    if (is_utf8(p, len)) {
        n = batch_token_decode(&token, out, batch_json_bound(token.len));
        must(n == len);
        must(memcmp(out, p, len) == 0);
    }

    free(out);
    free(text);
}


/* repaired it is valid, and what was valid is as it was */

static void
repair(const unsigned char *p, size_t len)
{
    int             valid;
    batch_text_t    t;
    unsigned char  *copy;

    valid = batch_utf8_valid(p, len);
    must(!valid || is_utf8(p, len));

    copy = fuzz_copy(p, len);
    batch_utf8_repair(copy, len);

    must(batch_utf8_valid(copy, len));
    must((memcmp(copy, p, len) == 0) == valid);

    /* so the builder of text changes nothing but escapes */

    memset(&t, 0, sizeof(t));
    batch_text_string(&t, copy, len);
    must(!t.failed && t.len >= len + 2 && t.data[t.len] == '\0');
    must(batch_utf8_valid(t.data, t.len));
    batch_text_free(&t);

    free(copy);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char  *p;

    compile();

    p = fuzz_copy(data, size);

    ids(p, size);
    status(p, size);
    escape(p, size);
    repair(p, size);

    free(p);

    return 0;
}
