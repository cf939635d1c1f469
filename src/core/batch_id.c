/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Ids, and the random bytes they are made of.
 */

#include "batch_id.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>


#define BATCH_ID_BASE62   22         /* characters of a file's id */
#define BATCH_ID_HEX      16         /* bytes of the others, before hex */
#define BATCH_ID_MIN      22         /* characters after the separator */
#define BATCH_ID_MAX      32

#define BATCH_ID_STORE    BATCH_ID_RANDOM_MAX      /* bytes, per thread */


typedef struct {
    const char  *name;
    size_t       len;
    char         sep;
} batch_id_prefix_t;


static const batch_id_prefix_t  batch_id_prefixes[] = {
    { "file", 4, '-' },              /* BATCH_ID_FILE */
    { "batch", 5, '_' },             /* BATCH_ID_BATCH */
    { "upload", 6, '_' },            /* BATCH_ID_UPLOAD */
    { "part", 4, '_' }               /* BATCH_ID_PART */
};

#define BATCH_ID_KINDS                                                        \
    (sizeof(batch_id_prefixes) / sizeof(batch_id_prefixes[0]))


/*
 * Random bytes in store, each given out once: a call of the system for every
 * line and id would cost more than the rest of an id (so would libcrypto's
 * generator: 1 us and 7500 instructions a call, a fifth of what a line costs).
 * A child of fork() must not give out what its parent does, so it starts with
 * an empty store.
 */

static __thread unsigned char  batch_id_store[BATCH_ID_STORE];
static __thread size_t         batch_id_left;

static pthread_once_t          batch_id_once = PTHREAD_ONCE_INIT;
static int                     batch_id_forks;    /* the child is told */


static void
batch_id_forked(void)
{
    batch_id_left = 0;
}


static void
batch_id_watch(void)
{
    batch_id_forks = (pthread_atfork(NULL, NULL, batch_id_forked) == 0);
}


int
batch_id_random(void *p, size_t n)
{
    (void) pthread_once(&batch_id_once, batch_id_watch);

    if (batch_id_left < n) {
        batch_id_left = 0;

        if (getentropy(batch_id_store, BATCH_ID_STORE) == -1) {
            return BATCH_ERROR;
        }

        batch_id_left = BATCH_ID_STORE;
    }

    batch_id_left -= n;

    memcpy(p, batch_id_store + batch_id_left, n);
    memset(batch_id_store + batch_id_left, 0, n);

    if (!batch_id_forks) {
        batch_id_left = 0;
    }

    return BATCH_OK;
}


int
batch_id_random_hex(char *hex, size_t n)
{
    size_t                i, part;
    unsigned char         buf[64];
    static const char     digits[] = "0123456789abcdef";

    while (n) {
        part = n < sizeof(buf) ? n : sizeof(buf);

        if (batch_id_random(buf, part) != BATCH_OK) {
            return BATCH_ERROR;
        }

        for (i = 0; i < part; i++) {
            *hex++ = digits[buf[i] >> 4];
            *hex++ = digits[buf[i] & 0xf];
        }

        n -= part;
    }

    return BATCH_OK;
}


static int
batch_id_random_base62(char *p, size_t n)
{
    size_t                i;
    unsigned              c;
    unsigned char         buf[32];
    static const char     digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "abcdefghijklmnopqrstuvwxyz";

    while (n) {
        if (batch_id_random(buf, sizeof(buf)) != BATCH_OK) {
            return BATCH_ERROR;
        }

        for (i = 0; i < sizeof(buf) && n; i++) {
            c = buf[i] & 0x3f;

            /* 62 and 63 are thrown away: a modulo would favour some digits */

            if (c < 62) {
                *p++ = digits[c];
                n--;
            }
        }
    }

    return BATCH_OK;
}


size_t
batch_id_make(batch_id_kind_e kind, char buf[BATCH_ID_LEN])
{
    int                       rc;
    char                     *p;
    size_t                    n;
    const batch_id_prefix_t  *prefix;

    if ((size_t) kind >= BATCH_ID_KINDS) {
        errno = EINVAL;
        return 0;
    }

    prefix = &batch_id_prefixes[kind];

    memcpy(buf, prefix->name, prefix->len);
    p = buf + prefix->len;
    *p++ = prefix->sep;

    if (kind == BATCH_ID_FILE) {
        n = BATCH_ID_BASE62;
        rc = batch_id_random_base62(p, n);

    } else {
        n = 2 * BATCH_ID_HEX;
        rc = batch_id_random_hex(p, BATCH_ID_HEX);
    }

    if (rc != BATCH_OK) {
        return 0;
    }

    p += n;
    *p = '\0';

    return (size_t) (p - buf);
}


int
batch_id_check(batch_id_kind_e kind, const unsigned char *s, size_t len)
{
    size_t                    i;
    unsigned char             c;
    const batch_id_prefix_t  *prefix;

    if ((size_t) kind >= BATCH_ID_KINDS) {
        return 0;
    }

    prefix = &batch_id_prefixes[kind];
    i = prefix->len + 1;

    if (len < i + BATCH_ID_MIN || len > i + BATCH_ID_MAX
        || memcmp(s, prefix->name, prefix->len) != 0
        || (s[prefix->len] != '-' && s[prefix->len] != '_'))
    {
        return 0;
    }

    for ( /* void */ ; i < len; i++) {
        c = s[i];

        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')
              || (c >= 'a' && c <= 'z')))
        {
            return 0;
        }
    }

    return 1;
}
