/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A fuzz target is a function that libFuzzer calls with bytes of its choice.
 * must() states what must hold: a finding is a call of abort(), or what the
 * sanitizers see.
 */

#ifndef _FUZZ_H_INCLUDED_
#define _FUZZ_H_INCLUDED_

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define must(cond)                                                            \
    do {                                                                      \
        if (!(cond)) {                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);        \
            abort();                                                          \
        }                                                                     \
    } while (0)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static inline void *
fuzz_alloc(size_t size)
{
    void  *p;

    p = malloc(size ? size : 1);

    if (p == NULL) {
        exit(0);
    }

    return p;
}


/* a copy on the heap of exactly that size, so that ASAN sees any overread */

static inline unsigned char *
fuzz_copy(const void *p, size_t len)
{
    unsigned char  *copy;

    copy = fuzz_alloc(len);

    if (len) {
        memcpy(copy, p, len);
    }

    return copy;
}


/* a sequence that the input fixes: a finding must come back */

static inline uint64_t
fuzz_seed(const uint8_t *data, size_t size)
{
    size_t    i;
    uint64_t  h;

    h = 0xcbf29ce484222325u;

    for (i = 0; i < size; i++) {
        h = (h ^ data[i]) * 0x100000001b3u;
    }

    return h ? h : 1;
}


static inline uint32_t
fuzz_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;

    return (uint32_t) (*state >> 32);
}


/*
 * Length of the next piece of left bytes.  how: 0 all at once, 1 single bytes,
 * else by chance: mostly short ones, sometimes none, sometimes long ones.
 */

static inline size_t
fuzz_piece(uint64_t *state, int how, size_t left)
{
    size_t    n;
    uint32_t  r;

    if (how == 0) {
        return left;
    }

    if (how == 1) {
        return left ? 1 : 0;
    }

    r = fuzz_random(state);
    n = (r & 7) ? (r >> 3) % 24 : (r >> 3) % 4096;

    return n < left ? n : left;
}

#endif
