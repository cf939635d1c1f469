/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "test.h"


static int  no_memory;


static void *
test_realloc(void *p, size_t size)
{
    return no_memory ? NULL : realloc(p, size);
}

#define realloc  test_realloc
#include "../../src/core/batch_text.c"
#undef realloc


static int
is(const batch_text_t *t, const char *s)
{
    return !t->failed && t->len == strlen(s) && t->len < t->size
           && memcmp(t->data, s, t->len + 1) == 0;
}


static void
test_values(void)
{
    size_t        i;
    batch_text_t  t;

    static const int64_t  numbers[] = {
        0, 1, 9, 10, -1, -10, 1234567890123, INT64_MAX, INT64_MIN
    };

    memset(&t, 0, sizeof(t));

    batch_text_append(&t, NULL, 0);
    ok(is(&t, ""), "nothing is text, too");

    batch_text_literal(&t, "{\"a\":");
    batch_text_int(&t, -5);
    batch_text_literal(&t, ",\"b\":");
    batch_text_string(&t, "x\"\\\n\0\xff" "y", 7);
    batch_text_printf(&t, ",\"c\":%" PRIu64 ",\"d\":\"%s\"}", UINT64_MAX, "z");

    ok(is(&t, "{\"a\":-5,\"b\":\"x\\\"\\\\\\n\\u0000\xef\xbf\xbdy\","
              "\"c\":18446744073709551615,\"d\":\"z\"}"), "%s", t.data);

    batch_text_free(&t);
    ok(t.data == NULL && t.len == 0 && t.size == 0, "free");

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char  s[32];

        snprintf(s, sizeof(s), "%" PRId64, numbers[i]);
        batch_text_int(&t, numbers[i]);
        ok(is(&t, s), "%s", s);
        batch_text_free(&t);
    }

    batch_text_string(&t, "", 0);
    ok(is(&t, "\"\""), "an empty string");
    batch_text_free(&t);
}


/* every length around the sizes where memory grows, by every function */

static void
test_growth(void)
{
    char          *s, *want;
    size_t         n, len;
    batch_text_t   t;

    for (n = 4080; n < 4110; n++) {
        s = malloc(n + 1);
        want = malloc(n + 3);

        if (s == NULL || want == NULL) {
            abort();
        }

        memset(s, 'a', n);
        s[n] = '\0';
        snprintf(want, n + 3, "\"%s\"", s);

        memset(&t, 0, sizeof(t));
        batch_text_append(&t, s, n);
        ok(is(&t, s), "append %zu", n);
        batch_text_free(&t);

        batch_text_printf(&t, "%s", s);
        ok(is(&t, s), "printf %zu", n);
        batch_text_free(&t);

        batch_text_string(&t, s, n);
        ok(is(&t, want), "string %zu", n);
        batch_text_free(&t);

        for (len = 0; len < n; len++) {
            batch_text_printf(&t, "%c", s[len]);
        }

        ok(is(&t, s), "by bytes %zu", n);
        batch_text_free(&t);

        free(s);
        free(want);
    }
}


static void
test_room(void)
{
    char           *text;
    batch_text_t    t;
    unsigned char  *p;

    memset(&t, 0, sizeof(t));

    batch_text_literal(&t, "ab");
    p = batch_text_room(&t, 10000);
    ok(p == t.data + 2 && t.size > 10002, "room");
    memcpy(p, "cd??", 4);
    batch_text_wrote(&t, 2);
    ok(is(&t, "abcd"), "only what was written counts");

    t.len = 1;
    batch_text_literal(&t, "z");
    ok(is(&t, "az"), "text taken back");

    text = batch_text_end(&t);
    ok(text && strcmp(text, "az") == 0, "end");
    ok(t.data == NULL && t.len == 0 && t.size == 0, "end leaves it empty");
    free(text);

    ok(batch_text_end(&t) == NULL, "no text");
}


/* after a failure nothing is added, and there is no text */

static void
test_no_memory(void)
{
    batch_text_t  t;

    memset(&t, 0, sizeof(t));

    batch_text_literal(&t, "a");
    no_memory = 1;
    batch_text_string(&t, "a", BATCH_TEXT_FIRST);
    no_memory = 0;
    ok(t.failed && t.len == 1 && t.data[0] == 'a', "the text is as it was");

    batch_text_literal(&t, "b");
    batch_text_int(&t, 1);
    batch_text_string(&t, "c", 1);
    batch_text_printf(&t, "d");
    ok(t.len == 1 && t.failed, "nothing is added");

    ok(batch_text_end(&t) == NULL, "no text");
    ok(t.data == NULL && !t.failed, "end leaves it empty");

    ok(batch_text_room(&t, SIZE_MAX - 10) == NULL && t.failed, "too large");
    batch_text_free(&t);
    ok(!t.failed, "free forgets the failure");

    batch_text_string(&t, "c", SIZE_MAX / 8);
    ok(t.failed, "a string whose bound is too large for a number");
    batch_text_free(&t);
}


int
main(void)
{
    test_values();
    test_growth();
    test_room();
    test_no_memory();

    return test_done("text");
}
