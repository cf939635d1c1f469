/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The multipart parser: the first line of the input is the Content-Type, the
 * rest the body.  However the body is cut, the events are the same.
 */

#include "batch_multipart.h"
#include "fuzz.h"


typedef struct {
    int             rc;
    int             done;
    const char     *error;
    size_t          len;
    size_t          size;
    unsigned char  *text;
} trace_t;


static void
trace_add(trace_t *t, const void *p, size_t len)
{
    must(len <= t->size - t->len);

    if (len) {
        memcpy(t->text + t->len, p, len);
        t->len += len;
    }
}


static void
trace_part(trace_t *t, const batch_multipart_t *mp)
{
    must(mp->name_len <= BATCH_MP_NAME_MAX);
    must(mp->filename_len <= BATCH_MP_FILENAME_MAX);
    must(mp->type_len <= sizeof(mp->type));
    must(memchr(mp->filename, '/', mp->filename_len) == NULL);
    must(memchr(mp->filename, '\0', mp->filename_len) == NULL);

    trace_add(t, mp->has_filename ? "<f" : "<-", 2);
    trace_add(t, mp->name, mp->name_len);
    trace_add(t, "|", 1);
    trace_add(t, mp->filename, mp->filename_len);
    trace_add(t, "|", 1);
    trace_add(t, mp->type, mp->type_len);
    trace_add(t, ":", 1);
}


/* 0 after an error */

static int
trace_piece(trace_t *t, batch_multipart_t *mp, const unsigned char *p,
    size_t len)
{
    unsigned char        *copy;
    const unsigned char  *pos;

    copy = fuzz_copy(p, len);
    pos = copy;

    for ( ;; ) {
        switch (batch_multipart_next(mp, &pos, copy + len)) {

        case BATCH_MP_AGAIN:
            must(pos == copy + len);
            free(copy);
            return 1;

        case BATCH_MP_PART:
            trace_part(t, mp);
            break;

        case BATCH_MP_DATA:
            must(mp->data.len > 0);
            trace_add(t, mp->data.data, mp->data.len);
            break;

        case BATCH_MP_PART_END:
            trace_add(t, ">", 1);
            break;

        case BATCH_MP_DONE:
            must(!t->done);
            t->done = 1;
            break;

        default:
            must(mp->error != NULL);
            must(batch_multipart_next(mp, &pos, copy + len)
                 == BATCH_MP_ERROR);
            free(copy);
            return 0;
        }
    }
}


static void
trace(trace_t *t, const uint8_t *data, size_t size, int how, uint64_t seed)
{
    int                 more;
    size_t              n, head;
    const uint8_t      *body;
    unsigned char      *type;
    batch_multipart_t  *mp;

    body = memchr(data, '\n', size);
    head = body ? (size_t) (body - data) : size;
    body = body ? body + 1 : data + size;
    size -= (size_t) (body - data);

    memset(t, 0, sizeof(trace_t));
    t->size = size + BATCH_MP_MAX_PARTS * 1024;
    t->text = fuzz_alloc(t->size);

    mp = fuzz_alloc(sizeof(batch_multipart_t));
    type = fuzz_copy(data, head);

    t->rc = batch_multipart_init(mp, type, head);
    free(type);

    if (t->rc == BATCH_OK) {
        do {
            n = fuzz_piece(&seed, how, size);
            more = trace_piece(t, mp, body, n);
            body += n;
            size -= n;
        } while (more && size);

        t->rc = batch_multipart_finish(mp);
        must(t->rc == BATCH_ERROR || t->done);
    }

    t->error = (t->rc == BATCH_OK) ? NULL : mp->error;
    must(t->rc == BATCH_OK || t->error != NULL);

    free(mp);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int      how;
    trace_t  whole, cut;

    trace(&whole, data, size, 0, 1);

    for (how = 1; how < 3; how++) {
        trace(&cut, data, size, how, fuzz_seed(data, size));

        must(cut.rc == whole.rc);
        must(cut.done == whole.done);
        must(cut.error == whole.error);
        must(cut.len == whole.len);
        must(memcmp(cut.text, whole.text, whole.len) == 0);

        free(cut.text);
    }

    free(whole.text);

    return 0;
}
