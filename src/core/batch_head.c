/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The beginning of an uploaded file.
 */

#include "batch_head.h"
#include "batch_jsonl.h"
#include "batch_scan.h"

#include <string.h>


typedef struct {
    const char     *magic;
    size_t          len;
    const char     *error;
} batch_head_format_t;


#define BATCH_HEAD_UTF16                                                      \
    "The file is in UTF-16. Save it in UTF-8."
#define BATCH_HEAD_UTF32                                                      \
    "The file is in UTF-32. Save it in UTF-8."
#define BATCH_HEAD_COMPRESSED(name)                                           \
    "The file is compressed (" name "). Upload it uncompressed."
#define BATCH_HEAD_ARRAY                                                      \
    "The file begins with a JSON array. Write one object per line, without "  \
    "brackets around them and commas between them."
#define BATCH_HEAD_LINES                                                      \
    "The first object does not end on its line. Write each object on one "    \
    "line."


/* the first that fits counts; formats: RFC 1952, RFC 8878, and the tools' */

static const batch_head_format_t  batch_head_formats[] = {
    { "\x1f\x8b", 2, BATCH_HEAD_COMPRESSED("gzip") },
    { "\x28\xb5\x2f\xfd", 4, BATCH_HEAD_COMPRESSED("zstd") },
    { "PK\x03\x04", 4, BATCH_HEAD_COMPRESSED("zip") },
    { "BZh", 3, BATCH_HEAD_COMPRESSED("bzip2") },
    { "\xfd" "7zXZ", 5, BATCH_HEAD_COMPRESSED("xz") },
    { "PAR1", 4, "The file is in Parquet format. Write it as JSONL." },
    { "\xff\xfe\0\0", 4, BATCH_HEAD_UTF32 },
    { "\0\0\xfe\xff", 4, BATCH_HEAD_UTF32 },
    { "\xff\xfe", 2, BATCH_HEAD_UTF16 },
    { "\xfe\xff", 2, BATCH_HEAD_UTF16 },
    { "{\0\0\0", 4, BATCH_HEAD_UTF32 },
    { "\0\0\0{", 4, BATCH_HEAD_UTF32 },
    { "{\0", 2, BATCH_HEAD_UTF16 },
    { "\0{", 2, BATCH_HEAD_UTF16 },
    { NULL, 0, NULL }
};


static int batch_head_fail(batch_head_t *h, const char *error, uint64_t at);
static size_t batch_head_mark(const unsigned char *p, size_t len);


int
batch_head_look(const unsigned char *p, size_t len, batch_head_t *h)
{
    int                         cut;
    size_t                      mark;
    const unsigned char        *last, *nl;
    const batch_head_format_t  *f;

    h->line = 1;

    if (len == 0) {
        return batch_head_fail(h, NULL, 0);
    }

    for (f = batch_head_formats; f->magic; f++) {
        if (len >= f->len && memcmp(p, f->magic, f->len) == 0) {
            return batch_head_fail(h, f->error, 0);
        }
    }

    cut = len > BATCH_HEAD_SIZE;
    last = p + (cut ? BATCH_HEAD_SIZE : len);

    /* what follows a byte-order mark in its line may be blank */

    mark = (len >= 3) ? batch_head_mark(p, len) : 0;

    for ( ;; ) {
        nl = memchr(p, '\n', (size_t) (last - p));

        if (nl == NULL) {
            break;
        }

        if (!batch_jsonl_blank(p + mark, (size_t) (nl - p) - mark)) {
            return batch_head_object(p, (size_t) (nl - p), 1, h);
        }

        p = nl + 1;
        mark = 0;
        h->line++;
    }

    if (batch_jsonl_blank(p + mark, (size_t) (last - p) - mark)) {

        /* only white space so far: validation will tell */

        return cut ? BATCH_OK : batch_head_fail(h, NULL, 0);
    }

    return batch_head_object(p, (size_t) (last - p), !cut, h);
}


int
batch_head_object(const unsigned char *p, size_t len, int whole,
    batch_head_t *h)
{
    batch_scan_t  s;

    s.p = p + batch_head_mark(p, len);
    s.last = p + len;

    batch_scan_space(&s);

    if (s.p == s.last) {
        return whole ? batch_head_fail(h, NULL, 0) : BATCH_OK;
    }

    if (*s.p == '[') {
        return batch_head_fail(h, BATCH_HEAD_ARRAY, 0);
    }

    if (*s.p != '{') {
        return batch_head_fail(h, "Expected an object",
                               (uint64_t) (s.p - p) + 1);
    }

    if (batch_scan_value(&s, 0) != BATCH_OK) {

        if (s.cut) {
            return whole ? batch_head_fail(h, BATCH_HEAD_LINES, 0) : BATCH_OK;
        }

        return batch_head_fail(h, s.error, (uint64_t) (s.at - p) + 1);
    }

    batch_scan_space(&s);

    if (s.p != s.last) {
        return batch_head_fail(h, BATCH_SCAN_TEXT, (uint64_t) (s.p - p) + 1);
    }

    return BATCH_OK;
}


static int
batch_head_fail(batch_head_t *h, const char *error, uint64_t at)
{
    h->error = error;
    h->at = at;

    return BATCH_ERROR;
}


/* bytes of a byte-order mark, which the cut may have shortened */

static size_t
batch_head_mark(const unsigned char *p, size_t len)
{
    size_t                      n;
    static const unsigned char  mark[] = { 0xef, 0xbb, 0xbf };

    n = len < sizeof(mark) ? len : sizeof(mark);

    return memcmp(p, mark, n) == 0 ? n : 0;
}
