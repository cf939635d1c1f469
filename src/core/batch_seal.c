/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * On disk, a seal (offsets in bytes):
 *
 *    0 magic u32    4 chunk u32    8 epoch u32   12 n u32
 *   16 tag u64     24 sealed_us u64
 *   32 ok u64      40 failed u64  48 usage 5 x u64
 *   88 zero u32    92 crc u32 of bytes 0..91 and of all picks
 *   96 picks, 40 bytes each:
 *      0 line u64   8 offset u64  16 epoch u32   20 len u32
 *     24 crc u32   28 kind u16    30 status u16  32 zero, 8 bytes
 */

#include "batch_seal.h"
#include "batch_bytes.h"
#include "batch_crc32c.h"

#include <stdlib.h>
#include <string.h>


#define BATCH_SEAL_MAGIC   0x32534342u       /* "BCS2" */
#define BATCH_SEAL_HEADER  96
#define BATCH_SEAL_PICK    40

#define BATCH_SEAL_CRC     (BATCH_SEAL_HEADER - 4)


static int
batch_seal_zero(const unsigned char *p, size_t len)
{
    while (len) {
        if (p[--len]) {
            return 0;
        }
    }

    return 1;
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

    batch_bytes_put32(buf, BATCH_SEAL_MAGIC);
    batch_bytes_put32(buf + 4, s->chunk);
    batch_bytes_put32(buf + 8, s->epoch);
    batch_bytes_put32(buf + 12, s->n);
    batch_bytes_put64(buf + 16, batch_record_tag(batch_id, s->chunk, s->epoch));
    batch_bytes_put64(buf + 24, s->sealed_us);
    batch_bytes_put64(buf + 32, s->ok);
    batch_bytes_put64(buf + 40, s->failed);
    batch_record_put_usage(buf + 48, &s->usage);

    for (i = 0, p = buf + BATCH_SEAL_HEADER; i < s->n; i++) {
        pick = &s->picks[i];

        batch_bytes_put64(p, pick->line);
        batch_bytes_put64(p + 8, pick->offset);
        batch_bytes_put32(p + 16, pick->epoch);
        batch_bytes_put32(p + 20, pick->len);
        batch_bytes_put32(p + 24, pick->crc);
        batch_bytes_put16(p + 28, pick->kind);
        batch_bytes_put16(p + 30, pick->status);

        p += BATCH_SEAL_PICK;
    }

    batch_bytes_put32(buf + BATCH_SEAL_CRC,
                      batch_seal_crc(buf, batch_seal_size(s)));
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

        pick->line = batch_bytes_get64(p);
        pick->offset = batch_bytes_get64(p + 8);
        pick->epoch = batch_bytes_get32(p + 16);
        pick->len = batch_bytes_get32(p + 20);
        pick->crc = batch_bytes_get32(p + 24);
        pick->kind = batch_bytes_get16(p + 28);
        pick->status = batch_bytes_get16(p + 30);

        if (pick->line <= line || !batch_record_known(pick->kind)
            || pick->len == 0 || pick->len > BATCH_RECORD_MAX
            || !batch_seal_zero(p + 32, 8))
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
        || (len - BATCH_SEAL_HEADER) / BATCH_SEAL_PICK
           != batch_bytes_get32(buf + 12)
        || batch_bytes_get32(buf) != BATCH_SEAL_MAGIC
        || batch_bytes_get32(buf + BATCH_SEAL_CRC) != batch_seal_crc(buf, len)
        || !batch_seal_zero(buf + 88, 4))
    {
        return BATCH_ERROR;
    }

    s->chunk = batch_bytes_get32(buf + 4);
    s->epoch = batch_bytes_get32(buf + 8);

    if (s->chunk != chunk || s->epoch != epoch
        || batch_bytes_get64(buf + 16)
           != batch_record_tag(batch_id, chunk, epoch))
    {
        return BATCH_FOREIGN;
    }

    s->n = batch_bytes_get32(buf + 12);
    s->sealed_us = batch_bytes_get64(buf + 24);
    s->ok = batch_bytes_get64(buf + 32);
    s->failed = batch_bytes_get64(buf + 40);
    batch_record_get_usage(buf + 48, &s->usage);

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
