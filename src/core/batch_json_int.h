/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The compactor's machine.  Private to batch_json.c, which runs it, and
 * batch_json_string.c, which passes through strings.
 */

#ifndef _BATCH_JSON_INT_H_INCLUDED_
#define _BATCH_JSON_INT_H_INCLUDED_

#include "batch_json_read.h"
#include "batch_scan.h"

enum {
    BATCH_JSON_START = 0,            /* a byte-order mark may come */
    BATCH_JSON_BOM,                  /* sub: bytes of it seen */
    BATCH_JSON_VALUE,
    BATCH_JSON_ELEMENT,              /* a value or ] */
    BATCH_JSON_KEY,
    BATCH_JSON_MEMBER,               /* a key or } */
    BATCH_JSON_COLON,
    BATCH_JSON_AFTER,                /* a value has ended */
    BATCH_JSON_LITERAL,              /* sub: bytes seen, flags: which */
    BATCH_JSON_STRING,
    BATCH_JSON_ESCAPE,               /* held: the escape so far */
    BATCH_JSON_HEX,                  /* sub: digits to come */
    BATCH_JSON_HIGH,                 /* held: half of a surrogate pair */
    BATCH_JSON_CHAR,                 /* held: the character so far */
    BATCH_JSON_MINUS,                /* not yet written.  The numbers' states
                                        are the last ones */
    BATCH_JSON_ZERO,
    BATCH_JSON_INT,
    BATCH_JSON_DOT,
    BATCH_JSON_FRAC,
    BATCH_JSON_EXP,
    BATCH_JSON_SIGN,
    BATCH_JSON_POWER,
    BATCH_JSON_FAILED
};

typedef struct {
    batch_json_t         *j;
    const unsigned char  *p;
    const unsigned char  *last;
    unsigned char        *out;
} batch_json_io_t;


/* back: bytes of the defect that lie before io->p, perhaps in earlier pieces */

static inline int
batch_json_fail(batch_json_io_t *io, unsigned back, const char *error)
{
    io->j->error = error;
    io->j->sub = back;

    return BATCH_ERROR;
}


/* a string's quote has been passed; key: it is one of an object */
void batch_json_string_begin(batch_json_t *j, int key);

/* in state STRING: as far as it goes without a longer escape */
int batch_json_string(batch_json_io_t *io);

/* in one of the states between STRING and MINUS: one byte */
int batch_json_string_byte(batch_json_io_t *io);


#endif /* _BATCH_JSON_INT_H_INCLUDED_ */
