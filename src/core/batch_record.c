/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * On disk, a record (offsets in bytes):
 *
 *    0 magic u32    4 len u32      8 line u64    16 payload's crc u32
 *   20 kind u16    22 status u16  24 usage 5 x u64: input, output, cached,
 *   64 tag u64     72 base u64        reasoning, total
 *   80 crc u32 of bytes 0..79
 *   84 payload
 */

#include "batch_record.h"
#include "batch_bytes.h"
#include "batch_crc32c.h"

#include <stdlib.h>
#include <string.h>


#define BATCH_RECORD_BUFFER  65536           /* bytes read at once */

#define BATCH_RECORD_CRC     (BATCH_RECORD_HEADER - 4)


typedef struct {
    batch_record_read_pt   read;
    void                  *ctx;
    uint64_t               off;      /* of the first byte in buf */
    size_t                 len;      /* bytes in buf */
    unsigned char         *buf;
} batch_record_window_t;


int
batch_record_known(uint16_t kind)
{
    return kind >= BATCH_KIND_OUTPUT && kind <= BATCH_KIND_EXPIRED;
}


void
batch_record_put_usage(unsigned char *p, const batch_usage_t *usage)
{
    batch_bytes_put64(p, usage->input);
    batch_bytes_put64(p + 8, usage->output);
    batch_bytes_put64(p + 16, usage->cached);
    batch_bytes_put64(p + 24, usage->reasoning);
    batch_bytes_put64(p + 32, usage->total);
}


void
batch_record_get_usage(const unsigned char *p, batch_usage_t *usage)
{
    usage->input = batch_bytes_get64(p);
    usage->output = batch_bytes_get64(p + 8);
    usage->cached = batch_bytes_get64(p + 16);
    usage->reasoning = batch_bytes_get64(p + 24);
    usage->total = batch_bytes_get64(p + 32);

    /* older modules wrote whatever the answer had */

    batch_usage_clamp(usage);
}


static uint64_t
batch_record_hash(uint64_t h, const unsigned char *p, size_t len)
{
    /* FNV-1a */

    while (len--) {
        h = (h ^ *p++) * 0x100000001b3u;
    }

    return h;
}


uint64_t
batch_record_tag(const char *batch_id, uint32_t chunk, uint32_t epoch)
{
    uint64_t       h;
    unsigned char  n[8];

    batch_bytes_put32(n, chunk);
    batch_bytes_put32(n + 4, epoch);

    h = batch_record_hash(0xcbf29ce484222325u,
                          (const unsigned char *) batch_id, strlen(batch_id));
    h = batch_record_hash(h, n, sizeof(n));

    /* neighbours differ in a few bits only: spread them */

    h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;

    return h ^ h >> 33;
}


void
batch_record_encode(const batch_record_t *r,
    unsigned char buf[BATCH_RECORD_HEADER])
{
    batch_bytes_put32(buf, BATCH_RECORD_MAGIC);
    batch_bytes_put32(buf + 4, r->len);
    batch_bytes_put64(buf + 8, r->line);
    batch_bytes_put32(buf + 16, r->crc);
    batch_bytes_put16(buf + 20, r->kind);
    batch_bytes_put16(buf + 22, r->status);
    batch_record_put_usage(buf + 24, &r->usage);
    batch_bytes_put64(buf + 64, r->tag);
    batch_bytes_put64(buf + 72, r->base);

    batch_bytes_put32(buf + BATCH_RECORD_CRC,
                      batch_crc32c(0, buf, BATCH_RECORD_CRC));
}


int
batch_record_decode(const unsigned char buf[BATCH_RECORD_HEADER],
    uint64_t tag, batch_record_t *r)
{
    if (batch_bytes_get32(buf) != BATCH_RECORD_MAGIC
        || batch_bytes_get32(buf + BATCH_RECORD_CRC)
           != batch_crc32c(0, buf, BATCH_RECORD_CRC))
    {
        return BATCH_ERROR;
    }

    r->len = batch_bytes_get32(buf + 4);
    r->line = batch_bytes_get64(buf + 8);
    r->crc = batch_bytes_get32(buf + 16);
    r->kind = batch_bytes_get16(buf + 20);
    r->status = batch_bytes_get16(buf + 22);
    batch_record_get_usage(buf + 24, &r->usage);
    r->tag = batch_bytes_get64(buf + 64);
    r->base = batch_bytes_get64(buf + 72);

    if (r->len == 0 || r->len > BATCH_RECORD_MAX || r->line == 0
        || !batch_record_known(r->kind))
    {
        return BATCH_ERROR;
    }

    return (r->tag == tag) ? BATCH_OK : BATCH_FOREIGN;
}


/*
 * Bytes of the file from off on, at least min(need, the buffer's size) of them
 * unless the file ends before.  Returns how many are at *p, -1 on error.
 */

static ssize_t
batch_record_window(batch_record_window_t *w, uint64_t off, size_t need,
    const unsigned char **p)
{
    size_t   have;
    ssize_t  n;

    if (need > BATCH_RECORD_BUFFER) {
        need = BATCH_RECORD_BUFFER;
    }

    have = 0;

    if (off >= w->off && off - w->off < w->len) {
        have = w->len - (size_t) (off - w->off);
    }

    if (have < need) {
        memmove(w->buf, w->buf + (w->len - have), have);
        w->off = off;
        w->len = have;

        while (w->len < BATCH_RECORD_BUFFER) {
            n = w->read(w->ctx, w->buf + w->len, BATCH_RECORD_BUFFER - w->len,
                        off + w->len);

            if (n < 0 || (size_t) n > BATCH_RECORD_BUFFER - w->len) {
                return -1;
            }

            if (n == 0) {
                break;
            }

            w->len += (size_t) n;
        }

        have = w->len;
    }

    *p = w->buf + (off - w->off);

    return (ssize_t) have;
}


/* BATCH_OK, BATCH_AGAIN if it is not what the header says, BATCH_ERROR */

static int
batch_record_payload(batch_record_window_t *w, uint64_t off,
    const batch_record_t *r)
{
    size_t                left;
    ssize_t               n;
    uint32_t              crc;
    const unsigned char  *p;

    crc = 0;

    for (left = r->len; left; left -= (size_t) n) {
        n = batch_record_window(w, off, left, &p);

        if (n < 0) {
            return BATCH_ERROR;
        }

        if (n == 0) {
            return BATCH_AGAIN;
        }

        if ((size_t) n > left) {
            n = (ssize_t) left;
        }

        crc = batch_crc32c(crc, p, (size_t) n);
        off += (uint64_t) n;
    }

    return (crc == r->crc) ? BATCH_OK : BATCH_AGAIN;
}


/*
 * Was the byte at off ever durable?  BATCH_OK if a later header of this segment
 * says so, BATCH_AGAIN if none does, BATCH_ERROR.  No line can pretend to be
 * such a header: a header has NUL bytes.
 */

static int
batch_record_proof(batch_record_window_t *w, uint64_t off, uint64_t tag)
{
    size_t                i, last;
    ssize_t               n;
    uint64_t              at;
    batch_record_t        r;
    const unsigned char  *p;

    for (at = off + 1; /* void */; at += last) {
        n = batch_record_window(w, at, BATCH_RECORD_HEADER, &p);

        if (n < 0) {
            return BATCH_ERROR;
        }

        if (n < BATCH_RECORD_HEADER) {
            return BATCH_AGAIN;
        }

        last = (size_t) n - BATCH_RECORD_HEADER + 1;

        for (i = 0; i < last; i++) {
            if (batch_bytes_get32(p + i) == BATCH_RECORD_MAGIC
                && batch_record_decode(p + i, tag, &r) == BATCH_OK
                && r.base > off && r.base <= at + i)
            {
                return BATCH_OK;
            }
        }
    }
}


/*
 * The record at off: BATCH_OK, BATCH_FOREIGN, BATCH_ERROR, or BATCH_AGAIN if it
 * does not hold.  nothing = 1: the file ends here.
 */

static int
batch_record_next(batch_record_window_t *w, uint64_t off, uint64_t tag,
    batch_record_t *r, int *nothing)
{
    int                   rc;
    ssize_t               n;
    const unsigned char  *p;

    n = batch_record_window(w, off, BATCH_RECORD_HEADER, &p);

    if (n < 0) {
        return BATCH_ERROR;
    }

    *nothing = (n == 0);

    if (n < BATCH_RECORD_HEADER) {
        return BATCH_AGAIN;
    }

    rc = batch_record_decode(p, tag, r);

    if (rc == BATCH_OK) {
        return batch_record_payload(w, off + BATCH_RECORD_HEADER, r);
    }

    return (rc == BATCH_FOREIGN) ? BATCH_FOREIGN : BATCH_AGAIN;
}


/* the loop of the scan; BATCH_OK or BATCH_ERROR */

static int
batch_record_walk(batch_record_window_t *w, uint64_t tag,
    batch_record_pt record, void *cctx, uint64_t *off, batch_record_end_e *end)
{
    int             rc, nothing, proved;
    batch_record_t  r;

    proved = 0;

    for ( ;; ) {
        rc = batch_record_next(w, *off, tag, &r, &nothing);

        if (rc == BATCH_OK) {
            if (record(cctx, &r, *off) != BATCH_OK) {
                return BATCH_ERROR;
            }

            *off += BATCH_RECORD_HEADER + r.len;
            proved = 0;
            continue;
        }

        if (rc == BATCH_ERROR) {
            return BATCH_ERROR;
        }

        if (rc == BATCH_FOREIGN || nothing) {
            *end = nothing ? BATCH_RECORD_WHOLE : BATCH_RECORD_FOREIGN;
            return BATCH_OK;
        }

        if (proved) {
            *end = BATCH_RECORD_DAMAGED;
            return BATCH_OK;
        }

        rc = batch_record_proof(w, *off, tag);

        if (rc == BATCH_ERROR) {
            return BATCH_ERROR;
        }

        if (rc == BATCH_AGAIN) {
            *end = BATCH_RECORD_TORN;
            return BATCH_OK;
        }

        /* its writer may have been in the middle of it when we read it, and
         * may have gone on since: what is durable now is read once more */

        proved = 1;
        w->len = 0;
    }
}


int64_t
batch_record_scan(batch_record_read_pt read, void *rctx, uint64_t tag,
    batch_record_pt record, void *cctx, batch_record_end_e *end)
{
    int                    rc;
    uint64_t               off;
    batch_record_window_t  w;

    w.read = read;
    w.ctx = rctx;
    w.off = 0;
    w.len = 0;
    w.buf = malloc(BATCH_RECORD_BUFFER);

    if (w.buf == NULL) {
        return -1;
    }

    off = 0;

    rc = batch_record_walk(&w, tag, record, cctx, &off, end);

    free(w.buf);

    return (rc == BATCH_OK) ? (int64_t) off : -1;
}
