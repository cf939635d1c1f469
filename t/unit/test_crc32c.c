/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "../../src/core/batch_crc32c.c"
#include "test.h"


typedef uint32_t (*crc_update_pt)(uint32_t crc, const unsigned char *p,
    size_t len);


/* the definition, bit by bit */

static uint32_t
crc_bitwise(uint32_t crc, const unsigned char *p, size_t len)
{
    int  i;

    while (len--) {
        crc ^= *p++;

        for (i = 0; i < 8; i++) {
            crc = (crc >> 1) ^ ((crc & 1) ? 0x82f63b78u : 0);
        }
    }

    return crc;
}


static void
crc_check(const char *name, crc_update_pt update)
{
    size_t         i, len;
    uint32_t       crc;
    unsigned char  buf[300];

    ok(~update(~0u, (const unsigned char *) "123456789", 9) == 0xe3069283,
       "%s", name);

    /* RFC 3720, appendix B.4 */

    memset(buf, 0, 32);
    ok(~update(~0u, buf, 32) == 0x8a9136aa, "%s zeros", name);

    memset(buf, 0xff, 32);
    ok(~update(~0u, buf, 32) == 0x62a8ab43, "%s ones", name);

    for (i = 0; i < 32; i++) {
        buf[i] = (unsigned char) i;
    }

    ok(~update(~0u, buf, 32) == 0x46dd794e, "%s ascending", name);

    for (i = 0; i < sizeof(buf); i++) {
        buf[i] = (unsigned char) (i * 151 + (i >> 3));
    }

    for (len = 0; len <= 260; len++) {
        crc = crc_bitwise(~0u, buf + len % 9, len);
        ok(update(~0u, buf + len % 9, len) == crc, "%s len %zu", name, len);

        i = len / 3;
        ok(update(update(~0u, buf + len % 9, i), buf + len % 9 + i, len - i)
           == crc, "%s pieces of %zu", name, len);
    }
}


int
main(void)
{
    uint32_t  crc;

    ok(batch_crc32c(0, "123456789", 9) == 0xe3069283, "the known vector");
    ok(batch_crc32c(0, "", 0) == 0, "nothing");

    crc = batch_crc32c(0, "1234", 4);
    ok(batch_crc32c(crc, "56789", 5) == 0xe3069283, "in pieces");

    crc_check("table", batch_crc32c_portable);

#if (BATCH_CRC_SSE42)
    if (__builtin_cpu_supports("sse4.2")) {
        crc_check("sse4.2", batch_crc32c_sse42);
    }
#endif

    return test_done("crc32c");
}
