/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Streaming multipart/form-data (RFC 7578, RFC 2046 section 5.1).  A pull
 * parser: the caller gives it input and takes one event at a time.  Any split
 * of the input gives the same events, except for where DATA is cut.  Its memory
 * is fixed.
 *
 * Limits, because bodies may be hostile: a boundary of 1..70 bytes;
 * BATCH_MP_MAX_PARTS parts; BATCH_MP_MAX_HEADERS header lines and
 * BATCH_MP_HEADER_SIZE bytes of headers in each of them; a preamble and an
 * epilogue of up to BATCH_MP_MAX_PREAMBLE bytes.
 */

#ifndef _BATCH_MULTIPART_H_INCLUDED_
#define _BATCH_MULTIPART_H_INCLUDED_

#include "batch_core.h"

#define BATCH_MP_MAX_BOUNDARY    70
#define BATCH_MP_MAX_PARTS       16
#define BATCH_MP_MAX_HEADERS     16
#define BATCH_MP_HEADER_SIZE     8192
#define BATCH_MP_MAX_PREAMBLE    4096
#define BATCH_MP_NAME_MAX        256     /* part name, bytes */
#define BATCH_MP_FILENAME_MAX    255     /* file name kept, bytes */

typedef enum {
    BATCH_MP_AGAIN = 0,      /* input used up: feed more */
    BATCH_MP_PART,           /* a part begins: name, filename, type are set */
    BATCH_MP_DATA,           /* data: a piece of the current part */
    BATCH_MP_PART_END,
    BATCH_MP_DONE,           /* closing delimiter seen */
    BATCH_MP_ERROR           /* error says what: a sentence for the client */
} batch_multipart_event_e;

typedef struct {
    /* what the last event is about */
    batch_str_t      data;                    /* DATA: into the input or into
                                                 this struct; valid until the
                                                 next call */
    size_t           name_len;
    unsigned char    name[BATCH_MP_NAME_MAX];
    int              has_filename;
    size_t           filename_len;            /* decoded: filename* preferred,
                                                 %22 and \" undone, directories
                                                 stripped, control characters
                                                 and broken UTF-8 '_', cut
                                                 between characters */
    unsigned char    filename[BATCH_MP_FILENAME_MAX + 1];
    size_t           type_len;
    unsigned char    type[128];               /* Content-Type, "" if none */
    const char      *error;                   /* static sentence */

    /* private */
    unsigned         state;
    unsigned         seen;                    /* headers and parameters */
    unsigned         parts;
    unsigned         headers;
    size_t           preamble;                /* bytes; later the epilogue's */
    size_t           lead;                    /* delimiter bytes matched that
                                                 are not in the input */
    size_t           matched;                 /* delimiter bytes matched */
    size_t           delim_len;
    unsigned char    delim[BATCH_MP_MAX_BOUNDARY + 4];    /* \r\n--boundary */
    size_t           line;                    /* where the header line begins */
    size_t           header_len;
    unsigned char    header[BATCH_MP_HEADER_SIZE];
} batch_multipart_t;

/*
 * Takes the value of the Content-Type header.  BATCH_OK; BATCH_ERROR with
 * mp->error if it is not multipart/form-data or does not have exactly one
 * well-formed boundary.  The boundary may be quoted or not; parameters may come
 * in any order and case.
 */
int batch_multipart_init(batch_multipart_t *mp, const unsigned char *type,
    size_t len);

/* The next event; advances *pos up to last.  After DONE it discards the
 * epilogue and returns AGAIN; after ERROR it only returns ERROR. */
batch_multipart_event_e batch_multipart_next(batch_multipart_t *mp,
    const unsigned char **pos, const unsigned char *last);

/* The body has ended: BATCH_OK if it had a closing delimiter, else BATCH_ERROR
 * with mp->error. */
int batch_multipart_finish(batch_multipart_t *mp);

#endif /* _BATCH_MULTIPART_H_INCLUDED_ */
