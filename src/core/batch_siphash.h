/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * SipHash (Aumasson and Bernstein) with 64 bits of output: a keyed hash for
 * tables of strings that a stranger chooses, who must not choose collisions.
 */

#ifndef _BATCH_SIPHASH_H_INCLUDED_
#define _BATCH_SIPHASH_H_INCLUDED_

#include "batch_core.h"

/*
 * SipHash-1-3.  key: 128 random bits, the first 8 bytes of the published
 * algorithm's key as a little-endian number in key[0].  The same value on every
 * machine.
 */
uint64_t batch_siphash(const uint64_t key[2], const void *p, size_t len);

#endif /* _BATCH_SIPHASH_H_INCLUDED_ */
