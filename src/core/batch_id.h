/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Ids: a prefix and characters from the system's random source (getentropy(3)).
 *
 *   file-<22 of [0-9A-Za-z]>        131 bits     the shapes of OpenAI's ids,
 *   batch_<32 hex>                  128 bits     seen in recorded traffic
 *   batch_req_<32 hex>              128 bits
 *
 * An id that passes batch_id_check() contains no '/', '.', '%' or control
 * byte, so it may become part of a path or a key; nothing else may.
 */

#ifndef _BATCH_ID_H_INCLUDED_
#define _BATCH_ID_H_INCLUDED_

#include "batch_core.h"

#define BATCH_ID_LEN         48     /* room for any id and a NUL */
#define BATCH_ID_RANDOM_MAX  256    /* bytes, of batch_id_random() */

typedef enum {
    BATCH_ID_FILE = 0,
    BATCH_ID_BATCH,
    BATCH_ID_UPLOAD,
    BATCH_ID_PART
} batch_id_kind_e;

/* Fills buf with a NUL-terminated id; returns its length, 0 if the system gave
 * no random bytes (errno is set). */
size_t batch_id_make(batch_id_kind_e kind, char buf[BATCH_ID_LEN]);

/* n random bytes, at most BATCH_ID_RANDOM_MAX.  BATCH_OK or BATCH_ERROR (errno
 * is set). */
int batch_id_random(void *p, size_t n);

/* hex[2 * n] gets the lower-case hex of n random bytes, no NUL, for any n.
 * BATCH_OK or BATCH_ERROR (errno is set). */
int batch_id_random_hex(char *hex, size_t n);

/* 1 if s is well-formed for the kind:
 * ^(file|batch|upload|part)[-_][A-Za-z0-9]{22,32}$ */
int batch_id_check(batch_id_kind_e kind, const unsigned char *s, size_t len);

#endif /* _BATCH_ID_H_INCLUDED_ */
