/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A test is a main() that calls ok() and ends with test_done().  Only failures
 * are printed, and one line of totals that the Makefile adds up.
 */

#ifndef _TEST_H_INCLUDED_
#define _TEST_H_INCLUDED_

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long  test_passed;
static unsigned long  test_failed;

#define ok(cond, ...)                                                         \
    do {                                                                      \
        if (cond) {                                                           \
            test_passed++;                                                    \
        } else {                                                              \
            test_failed++;                                                    \
            if (test_failed <= 20) {                                          \
                printf("not ok - %s:%d: %s: ", __FILE__, __LINE__, #cond);    \
                printf(__VA_ARGS__);                                          \
                printf("\n");                                                 \
            }                                                                 \
        }                                                                     \
    } while (0)


static inline int
test_done(const char *name)
{
    printf("%s - %s # %lu passed, %lu failed\n",
           (test_failed || !test_passed) ? "not ok" : "ok", name,
           test_passed, test_failed);

    return (test_failed || !test_passed) ? 1 : 0;
}


/* a fixed sequence: a failure must come back */

static inline uint32_t
test_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;

    return (uint32_t) (*state >> 32);
}


/* a copy on the heap of exactly that size, so that ASAN sees any overread */

static inline unsigned char *
test_copy(const void *p, size_t len)
{
    unsigned char  *copy;

    copy = malloc(len ? len : 1);

    if (copy == NULL) {
        abort();
    }

    if (len) {
        memcpy(copy, p, len);
    }

    return copy;
}

#endif
