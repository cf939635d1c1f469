/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Little-endian numbers, at any address.
 */

#ifndef _BATCH_BYTES_H_INCLUDED_
#define _BATCH_BYTES_H_INCLUDED_

#include "batch_core.h"


static inline void
batch_bytes_put16(unsigned char *p, uint16_t n)
{
    p[0] = (unsigned char) n;
    p[1] = (unsigned char) (n >> 8);
}


static inline void
batch_bytes_put32(unsigned char *p, uint32_t n)
{
    batch_bytes_put16(p, (uint16_t) n);
    batch_bytes_put16(p + 2, (uint16_t) (n >> 16));
}


static inline void
batch_bytes_put64(unsigned char *p, uint64_t n)
{
    batch_bytes_put32(p, (uint32_t) n);
    batch_bytes_put32(p + 4, (uint32_t) (n >> 32));
}


static inline uint16_t
batch_bytes_get16(const unsigned char *p)
{
    return (uint16_t) (p[0] | p[1] << 8);
}


static inline uint32_t
batch_bytes_get32(const unsigned char *p)
{
    return (uint32_t) batch_bytes_get16(p)
           | (uint32_t) batch_bytes_get16(p + 2) << 16;
}


static inline uint64_t
batch_bytes_get64(const unsigned char *p)
{
    return (uint64_t) batch_bytes_get32(p)
           | (uint64_t) batch_bytes_get32(p + 4) << 32;
}

#endif /* _BATCH_BYTES_H_INCLUDED_ */
