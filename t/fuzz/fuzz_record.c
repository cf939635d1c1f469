/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Journal records and seals.  The first byte chooses: the bytes as they are,
 * or with the checksums put right, or else nothing would pass them.
 */

#include "batch_record.h"
#include "batch_seal.h"
#include "batch_crc32c.h"
#include "fuzz.h"


#define RAW   1                      /* bits of the first byte */
#define SEAL  2

#define USAGE  24                    /* offsets */
#define SUMS   48

#define PICK   40
#define HEAD   96

#define ID     "batch_0123456789abcdef0123456789abcdef"


typedef struct {
    const unsigned char  *p;
    size_t                len;
    int                   how;
    uint64_t              seed;
    uint64_t              expected;  /* offset of the next record */
    uint32_t              sum;       /* of what was told */
    batch_record_end_e      end;
} disk_t;


static void
put32(unsigned char *p, uint32_t n)
{
    p[0] = (unsigned char) n;
    p[1] = (unsigned char) (n >> 8);
    p[2] = (unsigned char) (n >> 16);
    p[3] = (unsigned char) (n >> 24);
}


static uint32_t
get32(const unsigned char *p)
{
    return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16
           | (uint32_t) p[3] << 24;
}


static void
put64(unsigned char *p, uint64_t n)
{
    put32(p, (uint32_t) n);
    put32(p + 4, (uint32_t) (n >> 32));
}


static uint64_t
get64(const unsigned char *p)
{
    return (uint64_t) get32(p) | (uint64_t) get32(p + 4) << 32;
}


/* the five counts are those that were read, but end at the greatest one */

static void
limited(const unsigned char *p, const unsigned char *was)
{
    int       i;
    uint64_t  n;

    for (i = 0; i < 5; i++) {
        n = get64(was + 8 * i);
        must(get64(p + 8 * i) == (n < BATCH_USAGE_MAX ? n : BATCH_USAGE_MAX));
    }
}


/*
 * Every record that fits gets its magic, its checksums and, but for one in
 * eight, the segment's tag; one in four is damaged afterwards.
 */

static void
fix_records(unsigned char *p, size_t len)
{
    uint32_t        n;
    uint64_t        off;
    unsigned char   how;

    for (off = 0; len > BATCH_RECORD_HEADER; off += n) {
        n = get32(p + 4) % 300 + 1;

        if (n > len - BATCH_RECORD_HEADER) {
            n = (uint32_t) (len - BATCH_RECORD_HEADER);
        }

        put32(p, BATCH_RECORD_MAGIC);
        put32(p + 4, n);
        put32(p + 16, batch_crc32c(0, p + BATCH_RECORD_HEADER, n));

        p[20] = p[20] % 5;
        p[21] = 0;
        how = p[64];

        if (how & 7) {
            put64(p + 64, batch_record_tag(ID, 1, 2));
        }

        if (how & 8) {
            put64(p + 72, off);
        }

        put32(p + 80, batch_crc32c(0, p, 80));

        if ((how & 48) == 48) {
            p[how % BATCH_RECORD_HEADER] ^= how | 1;
        }

        n += BATCH_RECORD_HEADER;
        p += n;
        len -= n;
    }
}


static void
fix_seal(unsigned char *p, size_t len)
{
    size_t    i;
    uint32_t  crc;

    if (len < HEAD) {
        return;
    }

    memcpy(p, "BCS2\1\0\0\0\2\0\0\0", 12);
    put32(p + 12, (uint32_t) ((len - HEAD) / PICK));
    put64(p + 16, batch_record_tag(ID, 1, p[88] & 7 ? 2 : 3));
    memset(p + 88, 0, 4);

    for (i = HEAD; i + PICK <= len; i += PICK) {
        p[i + 28] = p[i + 28] % 5;
        p[i + 29] = 0;
        memset(p + i + 32, 0, 8);
    }

    crc = batch_crc32c(0, p, 92);
    put32(p + 92, batch_crc32c(crc, p + HEAD, len - HEAD));
}


static ssize_t
disk_read(void *ctx, void *buf, size_t n, uint64_t off)
{
    disk_t  *d = ctx;

    if (off >= d->len) {
        return 0;
    }

    if (n > d->len - off) {
        n = d->len - (size_t) off;
    }

    /* a short read may come anywhere, but is never empty before the end */

    if (d->how) {
        n = fuzz_piece(&d->seed, d->how, n - 1) + 1;
    }

    memcpy(buf, d->p + off, n);

    return (ssize_t) n;
}


static int
disk_record(void *ctx, const batch_record_t *r, uint64_t off)
{
    disk_t         *d = ctx;
    unsigned char   buf[BATCH_RECORD_HEADER];

    must(off == d->expected);
    must(r->len >= 1 && off + BATCH_RECORD_HEADER + r->len <= d->len);
    must(r->line >= 1);
    must(r->tag == batch_record_tag(ID, 1, 2));
    must(batch_crc32c(0, d->p + off + BATCH_RECORD_HEADER, r->len) == r->crc);

    /* all comes back, but for usage that no JSON could hold */

    batch_record_encode(r, buf);
    must(memcmp(buf, d->p + off, USAGE) == 0);
    must(memcmp(buf + USAGE + 40, d->p + off + USAGE + 40,
                BATCH_RECORD_HEADER - 4 - USAGE - 40) == 0);
    limited(buf + USAGE, d->p + off + USAGE);

    d->expected = off + BATCH_RECORD_HEADER + r->len;
    d->sum = batch_crc32c(d->sum, buf, sizeof(buf));

    return BATCH_OK;
}


static int64_t
scan(disk_t *d, int how)
{
    int64_t  end;

    d->how = how;
    d->expected = 0;
    d->sum = 0;

    end = batch_record_scan(disk_read, d, batch_record_tag(ID, 1, 2),
                            disk_record, d, &d->end);

    must(end >= 0 && (uint64_t) end == d->expected);
    must((d->end == BATCH_RECORD_WHOLE) == ((size_t) end == d->len));

    return end;
}


/* why the scan has ended there, found out in a simple way */

static batch_record_end_e
blame(const disk_t *d, size_t off)
{
    size_t          i;
    uint64_t        tag;
    batch_record_t  r;

    tag = batch_record_tag(ID, 1, 2);

    if (off == d->len) {
        return BATCH_RECORD_WHOLE;
    }

    for (i = off; i + BATCH_RECORD_HEADER <= d->len; i++) {
        switch (batch_record_decode(d->p + i, tag, &r)) {

        case BATCH_FOREIGN:
            if (i == off) {
                return BATCH_RECORD_FOREIGN;
            }

            break;

        case BATCH_OK:
            if (i > off && r.base > off && r.base <= i) {
                return BATCH_RECORD_DAMAGED;
            }
        }
    }

    return BATCH_RECORD_TORN;
}


static void
records(const unsigned char *p, size_t len)
{
    disk_t            d;
    int64_t           end;
    uint32_t          sum;
    batch_record_end_e  why;

    d.p = p;
    d.len = len;
    d.seed = fuzz_seed(p, len);

    end = scan(&d, 0);
    sum = d.sum;
    why = d.end;

    must(why == blame(&d, (size_t) end));
    must(scan(&d, 2) == end);
    must(d.sum == sum && d.end == why);
}


static void
seal(const unsigned char *p, size_t len)
{
    uint32_t        i;
    batch_seal_t    s;
    unsigned char  *out;

    if (batch_seal_decode(p, len, ID, 1, 2, &s) != BATCH_OK) {
        must(s.picks == NULL);
        return;
    }

    must(batch_seal_size(&s) == len);

    for (i = 1; i < s.n; i++) {
        must(s.picks[i].line > s.picks[i - 1].line);
    }

    out = fuzz_alloc(len);
    batch_seal_encode(&s, ID, out);
    must(memcmp(out, p, SUMS) == 0);
    must(memcmp(out + SUMS + 40, p + SUMS + 40, HEAD - 4 - SUMS - 40) == 0);
    must(memcmp(out + HEAD, p + HEAD, len - HEAD) == 0);
    limited(out + SUMS, p + SUMS);

    free(out);
    free(s.picks);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char  *p;

    if (size == 0) {
        return 0;
    }

    p = fuzz_copy(data + 1, size - 1);

    if (data[0] & SEAL) {
        if (!(data[0] & RAW)) {
            fix_seal(p, size - 1);
        }

        seal(p, size - 1);

    } else {
        if (!(data[0] & RAW)) {
            fix_records(p, size - 1);
        }

        records(p, size - 1);
    }

    free(p);

    return 0;
}
