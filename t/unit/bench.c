/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Speed of the scanner, the compactor, the checksum and the multipart parser:
 * `make bench`.
 */

#include "batch_crc32c.h"
#include "batch_json.h"
#include "batch_jsonl.h"
#include "batch_multipart.h"
#include "test.h"

#include <time.h>

#define SIZE    (16 << 20)
#define ROUNDS  8


static double
seconds(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

    return (double) ts.tv_sec + ts.tv_nsec / 1e9;
}


static void
report(const char *what, size_t bytes, double start)
{
    printf("%-44s %8.0f MB/s\n", what, (double) bytes / 1e6
           / (seconds() - start));
}


/* fills buf with whole lines whose body's member x is the text, repeated */

static size_t
fill(char *buf, size_t line, const char *open, const char *text,
    const char *close)
{
    size_t  n, start, i;

    for (n = 0, i = 0; n + line + 1024 < SIZE; i++) {
        start = n;
        n += (size_t) sprintf(buf + n, "{\"custom_id\": \"request-%zu\", "
                              "\"method\": \"POST\", \"url\": "
                              "\"/v1/chat/completions\", \"body\": {\"model\":"
                              " \"m\", \"messages\": [{\"role\": \"user\", "
                              "\"content\": %s", i, open);

        while (n - start < line - 20) {
            n += (size_t) sprintf(buf + n, "%s", text);
        }

        n += (size_t) sprintf(buf + n, "%s}]}}\n", close);
    }

    return n;
}


static void
lines(const char *what, const unsigned char *buf, size_t len)
{
    int                   r, rc;
    double                start;
    const unsigned char  *p, *nl;
    batch_line_t          line;
    batch_line_error_t    err;

    batch_rules_t         rules;

    static batch_target_t  target = {
        batch_string("/v1/chat/completions"), NULL
    };

    batch_rules_init(&rules, &target, 1);

    rc = BATCH_OK;
    start = seconds();

    for (r = 0; r < ROUNDS; r++) {
        for (p = buf; p < buf + len; p = nl + 1) {
            nl = memchr(p, '\n', (size_t) (buf + len - p));

            if (batch_jsonl_parse(p, (size_t) (nl - p), &rules, &line, &err)
                != BATCH_OK)
            {
                rc = BATCH_ERROR;
            }
        }
    }

    report(what, (size_t) ROUNDS * len, start);
    ok(rc == BATCH_OK, "%s: %s", what, err.message);
}


static void
answers(const char *what, const unsigned char *buf, size_t len)
{
    int                   r;
    size_t                n, left;
    double                start;
    unsigned char        *out;
    batch_json_t          j;
    const unsigned char  *p, *nl;

    out = malloc(batch_json_bound(16384));
    start = seconds();

    for (r = 0; r < ROUNDS; r++) {
        for (p = buf; p < buf + len; p = nl + 1) {
            nl = memchr(p, '\n', (size_t) (buf + len - p));
            batch_json_init(&j);

            for (left = (size_t) (nl - p); left; left -= n) {
                n = left < 16384 ? left : 16384;
                batch_json_feed(&j, nl - left, n, out);
            }

            ok(batch_json_finish(&j) == BATCH_OK, "%s", j.error);
        }
    }

    report(what, (size_t) ROUNDS * len, start);
    free(out);
}


static void
upload(const char *what, const unsigned char *buf, size_t len)
{
    int                         r;
    size_t                      got;
    double                      start;
    const unsigned char        *pos;
    batch_multipart_event_e            event;
    static batch_multipart_t    mp;
    static const unsigned char  type[] = "multipart/form-data; boundary="
                                         "----------------0123456789abcdef";
    static const unsigned char  head[] = "------------------0123456789abcdef"
                                         "\r\nContent-Disposition: form-data; "
                                         "name=\"file\"\r\n\r\n";

    batch_multipart_init(&mp, type, sizeof(type) - 1);
    pos = head;

    while (batch_multipart_next(&mp, &pos, head + sizeof(head) - 1)
           != BATCH_MP_AGAIN)
    {
        /* void */
    }

    start = seconds();

    for (r = 0, got = 0; r < ROUNDS; r++) {
        pos = buf;

        do {
            event = batch_multipart_next(&mp, &pos, buf + len);
            got += (event == BATCH_MP_DATA) ? mp.data.len : 0;
        } while (event == BATCH_MP_DATA);
    }

    report(what, (size_t) ROUNDS * len, start);
    ok(got + mp.delim_len >= (size_t) ROUNDS * len, "%zu bytes", got);
}


int
main(void)
{
    int             r;
    char           *buf;
    size_t          i, len;
    double          start;
    uint32_t        crc;
    unsigned char  *u;

    static const struct {
        const char  *what, *open, *text, *close;
    } kinds[] = {
        { "plain text", "\"", "The quick brown fox jumps over the lazy dog. ",
          "\"" },
        { "text with escapes", "\"", "a \\\"word\\\" and\\na new line, ",
          "\"" },
        { "Chinese text", "\"", "\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xb8\x96"
          "\xe7\x95\x8c", "\"" },
        { "dense: objects and numbers", "[", "{\"k\": 1.25, \"n\": [1, 2, 3], "
          "\"t\": true}, ", "0]" },
        { "numbers", "[", "-0.0123456789, ", "0]" }
    };

    buf = malloc(SIZE);
    u = (unsigned char *) buf;

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        len = fill(buf, 4096, kinds[i].open, kinds[i].text, kinds[i].close);
        printf("4 KB lines, %s\n", kinds[i].what);
        lines("  batch_jsonl_parse", u, len);
        answers("  batch_json_feed", u, len);
    }

    len = fill(buf, 4096, kinds[0].open, kinds[0].text, kinds[0].close);
    start = seconds();

    for (r = 0, crc = 0; r < ROUNDS; r++) {
        crc = batch_crc32c(crc, buf, len);
    }

    report("batch_crc32c", (size_t) ROUNDS * len, start);
    ok(crc != 0, "crc");

    upload("batch_multipart_next, JSONL", u, len);
    memset(buf, '\r', SIZE);
    upload("batch_multipart_next, CRs only", u, SIZE);

    for (i = 0; i + 4 <= SIZE; i += 4) {
        memcpy(buf + i, "\r\n--", 4);
    }

    upload("batch_multipart_next, CRLF-- only", u, SIZE);

    for (i = 0; i + 20 <= SIZE; i += 20) {
        memcpy(buf + i, "\r\n----------------0x", 20);
    }

    upload("batch_multipart_next, half boundaries", u, SIZE);
    free(buf);

    return test_done("bench");
}
