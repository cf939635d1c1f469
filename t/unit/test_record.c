/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "batch_crc32c.h"
#include "batch_record.h"
#include "batch_seal.h"
#include "test.h"


#define TAG  0x1122334455667788u
#define ID   "batch_0123456789abcdef0123456789abcdef"


typedef struct {
    unsigned char   *data;
    size_t           len;
    size_t           most;           /* a read returns no more than this */
    int              fail;           /* reads until one fails, 0 = never */
    unsigned         n;              /* records seen */
    int              stop;           /* callback refuses this record */
    int              bad;
    int              early;          /* reads until all of it is there */
    size_t           had;            /* what is there until then */
    batch_record_end_e end;
} file_t;


static batch_record_t  written[64];
static uint64_t        offsets[65];


/* field by field: there may be padding between them */

static int
same(const batch_record_t *a, const batch_record_t *b)
{
    return a->line == b->line && a->len == b->len && a->crc == b->crc
           && a->kind == b->kind && a->status == b->status
           && a->tag == b->tag && a->base == b->base
           && memcmp(&a->usage, &b->usage, sizeof(batch_usage_t)) == 0;
}


static ssize_t
file_read(void *ctx, void *buf, size_t n, uint64_t off)
{
    file_t  *f = ctx;
    size_t   len;

    if (f->fail && --f->fail == 0) {
        return -1;
    }

    len = f->len;

    if (f->early) {
        f->early--;
        len = f->had;
    }

    if (off >= len) {
        return 0;
    }

    if (n > len - off) {
        n = (size_t) (len - off);
    }

    if (f->most && n > f->most) {
        n = f->most;
    }

    memcpy(buf, f->data + off, n);

    return (ssize_t) n;
}


static int
file_record(void *ctx, const batch_record_t *r, uint64_t off)
{
    file_t  *f = ctx;

    if (f->n >= 64 || !same(r, &written[f->n])
        || off != offsets[f->n])
    {
        f->bad++;
    }

    f->n++;

    return (f->stop && (int) f->n == f->stop) ? BATCH_ERROR : BATCH_OK;
}


static int64_t
file_scan(file_t *f)
{
    f->n = 0;
    f->bad = 0;

    return batch_record_scan(file_read, f, TAG, file_record, f, &f->end);
}


/* a segment of n records with payloads of some lengths, synced two by two */

static void
file_make(file_t *f, unsigned n, const uint32_t *lens, unsigned nlens)
{
    size_t           i, off;
    uint32_t         k;
    unsigned char   *p;
    batch_record_t  *r;

    memset(f, 0, sizeof(*f));

    for (i = 0, off = 0; i < n; i++) {
        offsets[i] = off;
        off += BATCH_RECORD_HEADER + lens[i % nlens];
    }

    offsets[n] = off;
    f->len = off;
    f->data = malloc(off);

    for (i = 0; i < n; i++) {
        p = f->data + offsets[i];
        r = &written[i];
        memset(r, 0, sizeof(*r));
        r->line = i * 3 + 1;
        r->len = lens[i % nlens];
        r->kind = (uint16_t) (1 + i % 4);
        r->status = (uint16_t) (i % 2 ? 200 : 0);
        r->usage.input = i;
        r->usage.output = BATCH_USAGE_MAX - i;
        r->usage.cached = i << 32;
        r->usage.reasoning = 7;
        r->usage.total = i * 2;
        r->tag = TAG;
        r->base = offsets[i & ~(size_t) 1];

        for (k = 0; k < r->len; k++) {
            p[BATCH_RECORD_HEADER + k] = (unsigned char) (k * 7 + i);
        }

        r->crc = batch_crc32c(0, p + BATCH_RECORD_HEADER, r->len);
        batch_record_encode(r, p);
    }
}


/* which record holds the byte at off */

static unsigned
holder(size_t off)
{
    unsigned  i;

    for (i = 0; offsets[i + 1] <= off; i++) { /* void */ }

    return i;
}


/* what a scan must say of a byte that is wrong in record k of n */

static batch_record_end_e
verdict(unsigned k, unsigned n)
{
    return ((k | 1) + 1 < n) ? BATCH_RECORD_DAMAGED : BATCH_RECORD_TORN;
}


static void
small(void)
{
    file_t                 f;
    size_t                 i, len;
    unsigned               bit, k;
    static const uint32_t  lens[] = { 1, 40, 17 };

    file_make(&f, 5, lens, 3);
    len = f.len;

    ok(file_scan(&f) == (int64_t) len && f.n == 5 && !f.bad
       && f.end == BATCH_RECORD_WHOLE, "whole");

    /* torn at every byte: what was whole before it counts */

    for (i = 0; i < len; i++) {
        f.len = i;
        k = holder(i);
        ok(file_scan(&f) == (int64_t) offsets[k] && f.n == k && !f.bad
           && f.end == (i == offsets[k] ? BATCH_RECORD_WHOLE
                                        : BATCH_RECORD_TORN),
           "torn at %zu", i);
    }

    f.len = len;

    /* reads that bring little */

    for (f.most = 1; f.most < 100; f.most += 13) {
        ok(file_scan(&f) == (int64_t) len && f.n == 5 && !f.bad,
           "reads of %zu", f.most);
    }

    f.most = 0;

    /* every bit, at any place, ends the scan before its record */

    for (i = 0; i < len; i++) {
        for (bit = 0; bit < 8; bit++) {
            f.data[i] ^= (unsigned char) (1 << bit);
            k = holder(i);
            ok(file_scan(&f) == (int64_t) offsets[k] && f.n == k && !f.bad
               && f.end == verdict(k, 5), "bit %u of byte %zu", bit, i);
            f.data[i] ^= (unsigned char) (1 << bit);
        }
    }

    /* a callback and a read that fail */

    f.stop = 3;
    ok(file_scan(&f) == -1 && f.n == 3, "callback refuses");
    f.stop = 0;
    f.fail = 1;
    ok(file_scan(&f) == -1, "read fails");

    free(f.data);
}


static void
tails(void)
{
    file_t                 f;
    size_t                 len, n;
    batch_record_t         r;
    unsigned char         *p;
    static const uint32_t  lens[] = { 100 };

    file_make(&f, 4, lens, 1);
    len = f.len;
    f.data = realloc(f.data, len + 70000);

    for (n = 0; n < 70000; n += (n < 200) ? 1 : 3333) {
        memset(f.data + len, 0, n);
        f.len = len + n;
        ok(file_scan(&f) == (int64_t) len && f.n == 4 && !f.bad
           && f.end == (n ? BATCH_RECORD_TORN : BATCH_RECORD_WHOLE),
           "tail of %zu NULs", n);
    }

    /* NULs in the place of the last record's end, length kept */

    for (n = 1; n <= BATCH_RECORD_HEADER + 100; n++) {
        f.len = len;
        p = test_copy(f.data, len);
        memset(f.data + len - n, 0, n);
        ok(file_scan(&f) == (int64_t) offsets[3] && f.n == 3 && !f.bad
           && f.end == BATCH_RECORD_TORN, "last %zu bytes NUL", n);
        memcpy(f.data, p, len);
        free(p);
    }

    /* a stale block: a whole record after a torn one is not looked at */

    memmove(f.data + offsets[1] + 50, f.data + offsets[1], len - offsets[1]);
    f.len = len + 50;
    ok(file_scan(&f) == (int64_t) offsets[1] && f.n == 1
       && f.end == BATCH_RECORD_DAMAGED, "resynchronised");

    /* a header that is whole, but says more than the file or the law has */

    r = written[1];
    r.len = BATCH_RECORD_MAX;
    batch_record_encode(&r, f.data + offsets[1]);
    ok(file_scan(&f) == (int64_t) offsets[1] && f.n == 1, "huge length");

    r.len = BATCH_RECORD_MAX + 1;
    batch_record_encode(&r, f.data + offsets[1]);
    ok(batch_record_decode(f.data + offsets[1], TAG, &r) == BATCH_ERROR,
       "length");
    ok(file_scan(&f) == (int64_t) offsets[1] && f.n == 1, "too long");

    f.len = 0;
    ok(file_scan(&f) == 0 && f.n == 0, "empty file");

    free(f.data);
}


/* what was durable by the word of a later record, and whose it is */

static void
blame(void)
{
    file_t                 f;
    unsigned               i;
    batch_record_t         r;
    static const uint32_t  lens[] = { 50, 300 }, large[] = { 70000, 200000 };

    /* all in one group: any of it may be what a power cut has left */

    file_make(&f, 8, lens, 2);

    for (i = 0; i < 8; i++) {
        written[i].base = 0;
        batch_record_encode(&written[i], f.data + offsets[i]);
    }

    f.data[offsets[3] + 100] ^= 1;
    ok(file_scan(&f) == (int64_t) offsets[3] && f.n == 3
       && f.end == BATCH_RECORD_TORN, "in the only group");

    /* the last record alone says that all before it was durable */

    written[7].base = offsets[7];
    batch_record_encode(&written[7], f.data + offsets[7]);
    ok(file_scan(&f) == (int64_t) offsets[3] && f.n == 3
       && f.end == BATCH_RECORD_DAMAGED, "in an older group");

    /* but not the damaged one itself, nor a base that cannot be */

    written[7].base = offsets[3];
    batch_record_encode(&written[7], f.data + offsets[7]);
    ok(file_scan(&f) == (int64_t) offsets[3] && f.end == BATCH_RECORD_TORN,
       "durable up to the damage");

    written[7].base = offsets[7] + 1;
    batch_record_encode(&written[7], f.data + offsets[7]);
    ok(file_scan(&f) == (int64_t) offsets[3] && f.end == BATCH_RECORD_TORN,
       "a base after its record");

    written[7].base = offsets[7];
    written[7].tag = TAG ^ 1;
    batch_record_encode(&written[7], f.data + offsets[7]);
    ok(file_scan(&f) == (int64_t) offsets[3] && f.end == BATCH_RECORD_TORN,
       "another's word does not count");

    f.data[offsets[3] + 100] ^= 1;
    ok(file_scan(&f) == (int64_t) offsets[7] && f.n == 7
       && f.end == BATCH_RECORD_FOREIGN, "a foreign record");
    ok(batch_record_decode(f.data + offsets[7], TAG, &r) == BATCH_FOREIGN
       && batch_record_decode(f.data + offsets[7], TAG ^ 1, &r) == BATCH_OK,
       "whose it is");

    free(f.data);

    /* the proof is far away, at every place of a read */

    file_make(&f, 6, large, 2);

    for (f.most = 0; f.most < 70000; f.most += 1 + f.most / 3) {
        f.data[offsets[1] + 500] ^= 1;
        ok(file_scan(&f) == (int64_t) offsets[1] && f.n == 1 && !f.bad
           && f.end == BATCH_RECORD_DAMAGED, "far, reads of %zu", f.most);
        f.data[offsets[1] + 500] ^= 1;

        if (f.most == 0) {
            f.most = 4000;
        }
    }

    f.most = 0;
    f.data[offsets[1] + 500] ^= 1;
    f.fail = 6;
    ok(file_scan(&f) == -1, "the read for the proof fails");
    free(f.data);

    /* a writer at work: what was half there is read again */

    for (i = 1; i < 400; i++) {
        file_make(&f, 8, lens, 2);
        f.early = 2;
        f.had = offsets[2] + i;
        ok(file_scan(&f) != -1 && !f.bad && f.end != BATCH_RECORD_DAMAGED
           && f.n >= 2, "grows at %u", i);
        free(f.data);
    }
}


static void
tag(void)
{
    uint64_t     first;
    unsigned     i;
    static char  other[] = ID;

    first = batch_record_tag(ID, 0, 1);

    /* the function is part of the format */

    ok(first == 0x53268194cc33a39b, "%016lx", (unsigned long) first);
    ok(batch_record_tag(other, 0, 1) == first, "the same again");
    ok(batch_record_tag(ID, 1, 0) != first, "chunk and epoch");

    for (i = 0; i < 32; i++) {
        ok(batch_record_tag(ID, 1u << i, 1) != first, "chunk bit %u", i);
        ok(batch_record_tag(ID, 0, 1 ^ 1u << i) != first, "epoch bit %u", i);
    }

    for (i = 0; other[i]; i++) {
        other[i] ^= 1;
        ok(batch_record_tag(other, 0, 1) != first, "byte %u of the id", i);
        other[i] ^= 1;
    }
}


static void
decode(void)
{
    batch_record_t  r, back;
    unsigned char   buf[BATCH_RECORD_HEADER];

    memset(&r, 0, sizeof(r));
    r.line = 0x0102030405060708;
    r.len = 0x0a0b0c0d;
    r.crc = 0xdeadbeef;
    r.kind = BATCH_KIND_ERROR;
    r.status = 429;
    r.usage.input = 1;
    r.usage.output = 2;
    r.usage.cached = 3;
    r.usage.reasoning = 4;
    r.usage.total = 5;
    r.tag = TAG;
    r.base = 0x99aa;

    batch_record_encode(&r, buf);
    memset(&back, 0, sizeof(back));
    ok(batch_record_decode(buf, TAG, &back) == BATCH_OK, "decode");
    ok(same(&r, &back), "round trip");

    /* the layout is a promise to files that are already on disks */

    ok(memcmp(buf, "BCR2\x0d\x0c\x0b\x0a\x08\x07\x06\x05\x04\x03\x02\x01"
              "\xef\xbe\xad\xde\x02\x00\xad\x01\x01\0\0\0\0\0\0\0\x02", 33)
       == 0
       && memcmp(buf + 64, "\x88\x77\x66\x55\x44\x33\x22\x11"
                 "\xaa\x99\0\0\0\0\0\0", 16) == 0, "layout");

#define refused(field, value)                                                 \
    back = r;                                                                 \
    back.field = value;                                                       \
    batch_record_encode(&back, buf);                                          \
    ok(batch_record_decode(buf, TAG, &back) == BATCH_ERROR, #field " = " #value)

    refused(len, 0);
    refused(line, 0);
    refused(kind, 0);
    refused(kind, 5);

    memset(buf, 0, sizeof(buf));
    ok(batch_record_decode(buf, TAG, &back) == BATCH_ERROR, "NULs");
}


/* payloads around the size of the scan's buffer */

static void
large(void)
{
    file_t                 f;
    size_t                 len;
    uint32_t               two[2];
    static const uint32_t  lens[] = {
        65536, 1, 65535, 65456, 65455, 65457, 131072, 300000, 2
    };

    file_make(&f, 18, lens, 9);
    len = f.len;

    ok(file_scan(&f) == (int64_t) len && f.n == 18 && !f.bad, "large");

    f.data[offsets[7] + BATCH_RECORD_HEADER + 200000] ^= 1;
    ok(file_scan(&f) == (int64_t) offsets[7] && f.n == 7 && !f.bad,
       "a bit in a large one");
    f.data[offsets[7] + BATCH_RECORD_HEADER + 200000] ^= 1;

    f.fail = 12;
    ok(file_scan(&f) == -1, "a later read fails");

    f.fail = 0;
    f.len = len - 1;
    ok(file_scan(&f) == (int64_t) offsets[17] && f.n == 17 && !f.bad, "torn");

    free(f.data);

    /* the second header lies across the buffer's end */

    for (two[0] = 65536 - 165; two[0] < 65536 - 75; two[0]++) {
        two[1] = 3;
        file_make(&f, 2, two, 2);
        ok(file_scan(&f) == (int64_t) f.len && f.n == 2 && !f.bad,
           "first of %u bytes", two[0]);
        free(f.data);
    }
}


static int
seal_decode(const unsigned char *buf, size_t len, batch_seal_t *s)
{
    return batch_seal_decode(buf, len, ID, 4, 9, s);
}


static void
seal(void)
{
    size_t          i, size;
    unsigned        bit;
    batch_seal_t    s, back;
    batch_pick_t    picks[3];
    unsigned char  *buf, *copy;

    memset(&s, 0, sizeof(s));
    memset(picks, 0, sizeof(picks));

    for (i = 0; i < 3; i++) {
        picks[i].line = 10 + i * i;
        picks[i].offset = (i + 1) << 33;
        picks[i].epoch = (uint32_t) i + 1;
        picks[i].len = 1000 + (uint32_t) i;
        picks[i].crc = 0xfeed0000 + (uint32_t) i;
        picks[i].kind = (uint16_t) (i + 1);
        picks[i].status = (uint16_t) (200 * i);
    }

    s.chunk = 4;
    s.epoch = 9;
    s.sealed_us = 1700000000000000;
    s.ok = 1;
    s.failed = 1;
    s.usage.input = 11;
    s.usage.output = 12;
    s.usage.cached = 13;
    s.usage.reasoning = 14;
    s.usage.total = 15;
    s.n = 3;
    s.picks = picks;

    size = batch_seal_size(&s);
    buf = malloc(size);
    batch_seal_encode(&s, ID, buf);

    ok(seal_decode(buf, size, &back) == BATCH_OK, "decode");
    ok(back.n == 3 && memcmp(back.picks, picks, sizeof(picks)) == 0, "picks");
    ok(back.chunk == 4 && back.epoch == 9 && back.ok == 1 && back.failed == 1
       && back.sealed_us == s.sealed_us
       && memcmp(&back.usage, &s.usage, sizeof(s.usage)) == 0, "head");
    free(back.picks);

    ok(memcmp(buf, "BCS2\4\0\0\0\x09\0\0\0\3\0\0\0", 16) == 0, "layout");

    ok(batch_seal_decode(buf, size, ID, 5, 9, &back) == BATCH_FOREIGN
       && back.picks == NULL, "another chunk");
    ok(batch_seal_decode(buf, size, ID, 4, 8, &back) == BATCH_FOREIGN
       && back.picks == NULL, "another epoch");
    ok(batch_seal_decode(buf, size, "batch_0123456789abcdef0123456789abcdee",
                         4, 9, &back) == BATCH_FOREIGN
       && back.picks == NULL, "another batch");

    for (i = 0; i < size; i++) {
        for (bit = 0; bit < 8; bit++) {
            buf[i] ^= (unsigned char) (1 << bit);
            ok(seal_decode(buf, size, &back) == BATCH_ERROR
               && back.picks == NULL, "bit %u of byte %zu", bit, i);
            buf[i] ^= (unsigned char) (1 << bit);
        }
    }

    for (i = 0; i < size; i++) {
        copy = test_copy(buf, i);
        ok(seal_decode(copy, i, &back) == BATCH_ERROR, "cut at %zu", i);
        free(copy);
    }

    buf = realloc(buf, size + 40);
    memset(buf + size, 0, 40);
    ok(seal_decode(buf, size + 40, &back) == BATCH_ERROR, "longer");

    picks[2].line = picks[1].line;
    batch_seal_encode(&s, ID, buf);
    ok(seal_decode(buf, size, &back) == BATCH_ERROR, "a line twice");

    picks[2].line = 1;
    batch_seal_encode(&s, ID, buf);
    ok(seal_decode(buf, size, &back) == BATCH_ERROR, "descending");

    s.n = 0;
    batch_seal_encode(&s, ID, buf);
    ok(seal_decode(buf, batch_seal_size(&s), &back) == BATCH_OK
       && back.n == 0, "no picks");
    free(back.picks);
    free(buf);
}


int
main(void)
{
    small();
    tails();
    blame();
    tag();
    decode();
    large();
    seal();

    return test_done("record");
}
