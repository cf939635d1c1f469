/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * SipHash.  The numbers of rounds are parameters so that the test can run the
 * vectors of SipHash-2-4, the only published ones of the reference code.
 */

#include "batch_siphash.h"
#include "batch_bytes.h"


#define batch_siphash_rotl(x, b)  (((x) << (b)) | ((x) >> (64 - (b))))


static inline void
batch_siphash_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = batch_siphash_rotl(v[1], 13) ^ v[0];
    v[0] = batch_siphash_rotl(v[0], 32);

    v[2] += v[3];
    v[3] = batch_siphash_rotl(v[3], 16) ^ v[2];

    v[0] += v[3];
    v[3] = batch_siphash_rotl(v[3], 21) ^ v[0];

    v[2] += v[1];
    v[1] = batch_siphash_rotl(v[1], 17) ^ v[2];
    v[2] = batch_siphash_rotl(v[2], 32);
}


/* c rounds for each word, d at the end */

static inline uint64_t
batch_siphash_rounds(const uint64_t key[2], const unsigned char *p, size_t len,
    unsigned c, unsigned d)
{
    size_t    left;
    unsigned  i;
    uint64_t  m, v[4];

    v[0] = key[0] ^ 0x736f6d6570736575u;
    v[1] = key[1] ^ 0x646f72616e646f6du;
    v[2] = key[0] ^ 0x6c7967656e657261u;
    v[3] = key[1] ^ 0x7465646279746573u;

    for (left = len; left >= 8; left -= 8, p += 8) {
        m = batch_bytes_get64(p);
        v[3] ^= m;

        for (i = 0; i < c; i++) {
            batch_siphash_round(v);
        }

        v[0] ^= m;
    }

    m = (uint64_t) len << 56;

    while (left) {
        left--;
        m |= (uint64_t) p[left] << (8 * left);
    }

    v[3] ^= m;

    for (i = 0; i < c; i++) {
        batch_siphash_round(v);
    }

    v[0] ^= m;
    v[2] ^= 0xff;

    for (i = 0; i < d; i++) {
        batch_siphash_round(v);
    }

    return v[0] ^ v[1] ^ v[2] ^ v[3];
}


uint64_t
batch_siphash(const uint64_t key[2], const void *p, size_t len)
{
    return batch_siphash_rounds(key, p, len, 1, 3);
}
