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
 *
 * and a seal:
 *
 *    0 magic u32    4 chunk u32    8 epoch u32   12 n u32
 *   16 tag u64     24 sealed_us u64
 *   32 ok u64      40 failed u64  48 usage 5 x u64
 *   88 zero u32    92 crc u32 of bytes 0..91 and of all picks
 *   96 picks, 40 bytes each:
 *      0 line u64   8 offset u64  16 epoch u32   20 len u32
 *     24 crc u32   28 kind u16    30 status u16  32 zero, 8 bytes
 */

#include "batch_record.h"
#include "batch_crc32c.h"

#include <stdlib.h>
#include <string.h>


#define BATCH_SEAL_MAGIC     0x32534342u     /* "BCS2" */
#define BATCH_SEAL_HEADER    96
#define BATCH_SEAL_PICK      40
#define BATCH_SCAN_BUFFER    65536

#define BATCH_RECORD_CRC     (BATCH_RECORD_HEADER - 4)
#define BATCH_SEAL_CRC       (BATCH_SEAL_HEADER - 4)


typedef struct {
    batch_record_read_pt    read;
    void            *ctx;
    uint64_t         off;        /* of the first byte in buf */
    size_t           len;        /* bytes in buf */
    unsigned char   *buf;
} batch_window_t;


static void
batch_put16(unsigned char *p, uint16_t n)
{
    p[0] = (unsigned char) n;
    p[1] = (unsigned char) (n >> 8);
}


static void
batch_put32(unsigned char *p, uint32_t n)
{
    batch_put16(p, (uint16_t) n);
    batch_put16(p + 2, (uint16_t) (n >> 16));
}


static void
batch_put64(unsigned char *p, uint64_t n)
{
    batch_put32(p, (uint32_t) n);
    batch_put32(p + 4, (uint32_t) (n >> 32));
}


static uint16_t
batch_get16(const unsigned char *p)
{
    return (uint16_t) (p[0] | p[1] << 8);
}


static uint32_t
batch_get32(const unsigned char *p)
{
    return (uint32_t) batch_get16(p) | (uint32_t) batch_get16(p + 2) << 16;
}


static uint64_t
batch_get64(const unsigned char *p)
{
    return (uint64_t) batch_get32(p) | (uint64_t) batch_get32(p + 4) << 32;
}


static void
batch_put_usage(unsigned char *p, const batch_usage_t *usage)
{
    batch_put64(p, usage->input);
    batch_put64(p + 8, usage->output);
    batch_put64(p + 16, usage->cached);
    batch_put64(p + 24, usage->reasoning);
    batch_put64(p + 32, usage->total);
}


static void
batch_get_usage(const unsigned char *p, batch_usage_t *usage)
{
    usage->input = batch_get64(p);
    usage->output = batch_get64(p + 8);
    usage->cached = batch_get64(p + 16);
    usage->reasoning = batch_get64(p + 24);
    usage->total = batch_get64(p + 32);
}


static int
batch_zero(const unsigned char *p, size_t len)
{
    while (len) {
        if (p[--len]) {
            return 0;
        }
    }

    return 1;
}


static int
batch_kind_known(uint16_t kind)
{
    return kind >= BATCH_KIND_OUTPUT && kind <= BATCH_KIND_EXPIRED;
}


static uint64_t
batch_hash(uint64_t h, const unsigned char *p, size_t len)
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

    batch_put32(n, chunk);
    batch_put32(n + 4, epoch);

    h = batch_hash(0xcbf29ce484222325u, (const unsigned char *) batch_id,
                   strlen(batch_id));
    h = batch_hash(h, n, sizeof(n));

    /* neighbours differ in a few bits only: spread them */

    h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;

    return h ^ h >> 33;
}


void
batch_record_encode(const batch_record_t *r,
    unsigned char buf[BATCH_RECORD_HEADER])
{
    batch_put32(buf, BATCH_RECORD_MAGIC);
    batch_put32(buf + 4, r->len);
    batch_put64(buf + 8, r->line);
    batch_put32(buf + 16, r->crc);
    batch_put16(buf + 20, r->kind);
    batch_put16(buf + 22, r->status);
    batch_put_usage(buf + 24, &r->usage);
    batch_put64(buf + 64, r->tag);
    batch_put64(buf + 72, r->base);

    batch_put32(buf + BATCH_RECORD_CRC,
                batch_crc32c(0, buf, BATCH_RECORD_CRC));
}


int
batch_record_decode(const unsigned char buf[BATCH_RECORD_HEADER],
    uint64_t tag, batch_record_t *r)
{
    if (batch_get32(buf) != BATCH_RECORD_MAGIC
        || batch_get32(buf + BATCH_RECORD_CRC)
           != batch_crc32c(0, buf, BATCH_RECORD_CRC))
    {
        return BATCH_ERROR;
    }

    r->len = batch_get32(buf + 4);
    r->line = batch_get64(buf + 8);
    r->crc = batch_get32(buf + 16);
    r->kind = batch_get16(buf + 20);
    r->status = batch_get16(buf + 22);
    batch_get_usage(buf + 24, &r->usage);
    r->tag = batch_get64(buf + 64);
    r->base = batch_get64(buf + 72);

    if (r->len == 0 || r->len > BATCH_RECORD_MAX || r->line == 0
        || !batch_kind_known(r->kind))
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
batch_window(batch_window_t *w, uint64_t off, size_t need,
    const unsigned char **p)
{
    size_t   have;
    ssize_t  n;

    if (need > BATCH_SCAN_BUFFER) {
        need = BATCH_SCAN_BUFFER;
    }

    have = 0;

    if (off >= w->off && off - w->off < w->len) {
        have = w->len - (size_t) (off - w->off);
    }

    if (have < need) {
        memmove(w->buf, w->buf + (w->len - have), have);
        w->off = off;
        w->len = have;

        while (w->len < BATCH_SCAN_BUFFER) {
            n = w->read(w->ctx, w->buf + w->len, BATCH_SCAN_BUFFER - w->len,
                        off + w->len);

            if (n < 0 || (size_t) n > BATCH_SCAN_BUFFER - w->len) {
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
batch_record_payload(batch_window_t *w, uint64_t off, const batch_record_t *r)
{
    size_t                left;
    ssize_t               n;
    uint32_t              crc;
    const unsigned char  *p;

    crc = 0;

    for (left = r->len; left; left -= (size_t) n) {
        n = batch_window(w, off, left, &p);

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
 * Was the byte at off ever durable?  BATCH_OK if a header of this segment
 * behind it says so, BATCH_AGAIN if none does, BATCH_ERROR.  No line can pretend
 * to be such a header: it has NUL bytes.
 */

static int
batch_record_proof(batch_window_t *w, uint64_t off, uint64_t tag)
{
    size_t                i, last;
    ssize_t               n;
    uint64_t              at;
    batch_record_t        r;
    const unsigned char  *p;

    for (at = off + 1; /* void */; at += last) {
        n = batch_window(w, at, BATCH_RECORD_HEADER, &p);

        if (n < 0) {
            return BATCH_ERROR;
        }

        if (n < BATCH_RECORD_HEADER) {
            return BATCH_AGAIN;
        }

        last = (size_t) n - BATCH_RECORD_HEADER + 1;

        for (i = 0; i < last; i++) {
            if (batch_get32(p + i) == BATCH_RECORD_MAGIC
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
 * does not hold; nothing = 1: there is none.
 */

static int
batch_record_next(batch_window_t *w, uint64_t off, uint64_t tag,
    batch_record_t *r, int *nothing)
{
    int                   rc;
    ssize_t               n;
    const unsigned char  *p;

    n = batch_window(w, off, BATCH_RECORD_HEADER, &p);

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


/* the loop of the scan, up to where it ends; BATCH_OK or BATCH_ERROR */

static int
batch_record_walk(batch_window_t *w, uint64_t tag, batch_record_pt record,
    void *cctx, uint64_t *off, batch_record_end_e *end)
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

        /* its writer may have been in the middle of it when we read it, and may
         * have gone on since: what is durable now is read once more */

        proved = 1;
        w->len = 0;
    }
}


int64_t
batch_record_scan(batch_record_read_pt read, void *rctx, uint64_t tag,
    batch_record_pt record, void *cctx, batch_record_end_e *end)
{
    int             rc;
    uint64_t        off;
    batch_window_t  w;

    w.read = read;
    w.ctx = rctx;
    w.off = 0;
    w.len = 0;
    w.buf = malloc(BATCH_SCAN_BUFFER);

    if (w.buf == NULL) {
        return -1;
    }

    off = 0;

    rc = batch_record_walk(&w, tag, record, cctx, &off, end);

    free(w.buf);

    return (rc == BATCH_OK) ? (int64_t) off : -1;
}


size_t
batch_seal_size(const batch_seal_t *s)
{
    return BATCH_SEAL_HEADER + (size_t) s->n * BATCH_SEAL_PICK;
}


static uint32_t
batch_seal_crc(const unsigned char *buf, size_t len)
{
    uint32_t  crc;

    crc = batch_crc32c(0, buf, BATCH_SEAL_CRC);

    return batch_crc32c(crc, buf + BATCH_SEAL_HEADER, len - BATCH_SEAL_HEADER);
}


void
batch_seal_encode(const batch_seal_t *s, const char *batch_id,
    unsigned char *buf)
{
    uint32_t             i;
    unsigned char       *p;
    const batch_pick_t  *pick;

    memset(buf, 0, batch_seal_size(s));

    batch_put32(buf, BATCH_SEAL_MAGIC);
    batch_put32(buf + 4, s->chunk);
    batch_put32(buf + 8, s->epoch);
    batch_put32(buf + 12, s->n);
    batch_put64(buf + 16, batch_record_tag(batch_id, s->chunk, s->epoch));
    batch_put64(buf + 24, s->sealed_us);
    batch_put64(buf + 32, s->ok);
    batch_put64(buf + 40, s->failed);
    batch_put_usage(buf + 48, &s->usage);

    for (i = 0, p = buf + BATCH_SEAL_HEADER; i < s->n; i++) {
        pick = &s->picks[i];

        batch_put64(p, pick->line);
        batch_put64(p + 8, pick->offset);
        batch_put32(p + 16, pick->epoch);
        batch_put32(p + 20, pick->len);
        batch_put32(p + 24, pick->crc);
        batch_put16(p + 28, pick->kind);
        batch_put16(p + 30, pick->status);

        p += BATCH_SEAL_PICK;
    }

    batch_put32(buf + BATCH_SEAL_CRC, batch_seal_crc(buf, batch_seal_size(s)));
}


static int
batch_seal_picks(const unsigned char *p, batch_seal_t *s)
{
    uint32_t       i;
    uint64_t       line;
    batch_pick_t  *pick;

    line = 0;

    for (i = 0; i < s->n; i++) {
        pick = &s->picks[i];

        pick->line = batch_get64(p);
        pick->offset = batch_get64(p + 8);
        pick->epoch = batch_get32(p + 16);
        pick->len = batch_get32(p + 20);
        pick->crc = batch_get32(p + 24);
        pick->kind = batch_get16(p + 28);
        pick->status = batch_get16(p + 30);

        if (pick->line <= line || !batch_kind_known(pick->kind)
            || pick->len == 0 || pick->len > BATCH_RECORD_MAX
            || !batch_zero(p + 32, 8))
        {
            return BATCH_ERROR;
        }

        line = pick->line;
        p += BATCH_SEAL_PICK;
    }

    return BATCH_OK;
}


int
batch_seal_decode(const unsigned char *buf, size_t len, const char *batch_id,
    uint32_t chunk, uint32_t epoch, batch_seal_t *s)
{
    memset(s, 0, sizeof(batch_seal_t));

    if (len < BATCH_SEAL_HEADER
        || (len - BATCH_SEAL_HEADER) % BATCH_SEAL_PICK != 0
        || (len - BATCH_SEAL_HEADER) / BATCH_SEAL_PICK != batch_get32(buf + 12)
        || batch_get32(buf) != BATCH_SEAL_MAGIC
        || batch_get32(buf + BATCH_SEAL_CRC) != batch_seal_crc(buf, len)
        || !batch_zero(buf + 88, 4))
    {
        return BATCH_ERROR;
    }

    s->chunk = batch_get32(buf + 4);
    s->epoch = batch_get32(buf + 8);

    if (s->chunk != chunk || s->epoch != epoch
        || batch_get64(buf + 16) != batch_record_tag(batch_id, chunk, epoch))
    {
        return BATCH_FOREIGN;
    }

    s->n = batch_get32(buf + 12);
    s->sealed_us = batch_get64(buf + 24);
    s->ok = batch_get64(buf + 32);
    s->failed = batch_get64(buf + 40);
    batch_get_usage(buf + 48, &s->usage);

    if (s->n == 0) {
        return BATCH_OK;
    }

    s->picks = calloc(s->n, sizeof(batch_pick_t));

    if (s->picks == NULL) {
        return BATCH_AGAIN;
    }

    if (batch_seal_picks(buf + BATCH_SEAL_HEADER, s) != BATCH_OK) {
        free(s->picks);
        s->picks = NULL;
        return BATCH_ERROR;
    }

    return BATCH_OK;
}
