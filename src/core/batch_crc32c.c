/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * CRC-32C: the processor's instruction where there is one, else eight tables.
 */

#include "batch_crc32c.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <nmmintrin.h>
#define BATCH_CRC_SSE42  1
#endif


/*
 * A CRC is linear: the table's entry for n is the XOR of the entries for the
 * bits set in n.  So the compiler can make the tables (which stay read-only,
 * with no first call to race for) out of eight constants each.
 */

#define BATCH_CRC_BIT(n, b, c)  ((((n) >> (b)) & 1) ? (c) : 0u)

#define BATCH_CRC_XOR(n, a, b, c, d, e, f, g, h)                              \
    (BATCH_CRC_BIT(n, 0, a) ^ BATCH_CRC_BIT(n, 1, b)                          \
     ^ BATCH_CRC_BIT(n, 2, c) ^ BATCH_CRC_BIT(n, 3, d)                        \
     ^ BATCH_CRC_BIT(n, 4, e) ^ BATCH_CRC_BIT(n, 5, f)                        \
     ^ BATCH_CRC_BIT(n, 6, g) ^ BATCH_CRC_BIT(n, 7, h))

#define BATCH_CRC_ROW(n, ...)  BATCH_CRC_XOR(n, __VA_ARGS__)

#define BATCH_CRC_T0(n)  BATCH_CRC_ROW(n, \
    0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, \
    0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78)
#define BATCH_CRC_T1(n)  BATCH_CRC_ROW(n, \
    0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, \
    0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9)
#define BATCH_CRC_T2(n)  BATCH_CRC_ROW(n, \
    0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, \
    0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743)
#define BATCH_CRC_T3(n)  BATCH_CRC_ROW(n, \
    0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, \
    0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f)
#define BATCH_CRC_T4(n)  BATCH_CRC_ROW(n, \
    0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, \
    0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c)
#define BATCH_CRC_T5(n)  BATCH_CRC_ROW(n, \
    0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, \
    0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6)
#define BATCH_CRC_T6(n)  BATCH_CRC_ROW(n, \
    0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, \
    0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4)
#define BATCH_CRC_T7(n)  BATCH_CRC_ROW(n, \
    0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, \
    0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664)

#define BATCH_CRC_4(t, n)   t(n), t((n) + 1), t((n) + 2), t((n) + 3)
#define BATCH_CRC_16(t, n)                                                    \
    BATCH_CRC_4(t, n), BATCH_CRC_4(t, (n) + 4),                               \
    BATCH_CRC_4(t, (n) + 8), BATCH_CRC_4(t, (n) + 12)
#define BATCH_CRC_64(t, n)                                                    \
    BATCH_CRC_16(t, n), BATCH_CRC_16(t, (n) + 16),                            \
    BATCH_CRC_16(t, (n) + 32), BATCH_CRC_16(t, (n) + 48)
#define BATCH_CRC_256(t)                                                      \
    { BATCH_CRC_64(t, 0u), BATCH_CRC_64(t, 64u),                              \
      BATCH_CRC_64(t, 128u), BATCH_CRC_64(t, 192u) }


static const uint32_t  batch_crc32c_table[8][256] = {
    BATCH_CRC_256(BATCH_CRC_T0),
    BATCH_CRC_256(BATCH_CRC_T1),
    BATCH_CRC_256(BATCH_CRC_T2),
    BATCH_CRC_256(BATCH_CRC_T3),
    BATCH_CRC_256(BATCH_CRC_T4),
    BATCH_CRC_256(BATCH_CRC_T5),
    BATCH_CRC_256(BATCH_CRC_T6),
    BATCH_CRC_256(BATCH_CRC_T7)
};


/* takes and returns the inverted register, as the instruction does */

static uint32_t
batch_crc32c_portable(uint32_t crc, const unsigned char *p, size_t len)
{
    uint32_t  hi;

    while (len >= 8) {
        crc ^= (uint32_t) p[0] | (uint32_t) p[1] << 8
               | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
        hi = (uint32_t) p[4] | (uint32_t) p[5] << 8
             | (uint32_t) p[6] << 16 | (uint32_t) p[7] << 24;

        crc = batch_crc32c_table[7][crc & 0xff]
              ^ batch_crc32c_table[6][(crc >> 8) & 0xff]
              ^ batch_crc32c_table[5][(crc >> 16) & 0xff]
              ^ batch_crc32c_table[4][crc >> 24]
              ^ batch_crc32c_table[3][hi & 0xff]
              ^ batch_crc32c_table[2][(hi >> 8) & 0xff]
              ^ batch_crc32c_table[1][(hi >> 16) & 0xff]
              ^ batch_crc32c_table[0][hi >> 24];

        p += 8;
        len -= 8;
    }

    while (len--) {
        crc = (crc >> 8) ^ batch_crc32c_table[0][(crc ^ *p++) & 0xff];
    }

    return crc;
}


#if (BATCH_CRC_SSE42)

__attribute__((target("sse4.2")))
static uint32_t
batch_crc32c_sse42(uint32_t crc, const unsigned char *p, size_t len)
{
    uint64_t  c, word;

    c = crc;

    while (len >= 8) {
        memcpy(&word, p, 8);
        c = _mm_crc32_u64(c, word);
        p += 8;
        len -= 8;
    }

    crc = (uint32_t) c;

    while (len--) {
        crc = _mm_crc32_u8(crc, *p++);
    }

    return crc;
}

#endif


uint32_t
batch_crc32c(uint32_t crc, const void *p, size_t len)
{
#if (BATCH_CRC_SSE42)

    if (__builtin_cpu_supports("sse4.2")) {
        return ~batch_crc32c_sse42(~crc, p, len);
    }

#endif

    return ~batch_crc32c_portable(~crc, p, len);
}
