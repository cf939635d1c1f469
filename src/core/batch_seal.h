/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A seal fixes which record of which segment counts for each line of the chunk
 * (the pick list).  Only a seal makes bytes part of a result.
 */

#ifndef _BATCH_SEAL_H_INCLUDED_
#define _BATCH_SEAL_H_INCLUDED_

#include "batch_record.h"

typedef struct {
    uint64_t        line;
    uint64_t        offset;      /* of the record's header in its segment */
    uint32_t        epoch;       /* names the segment */
    uint32_t        len;         /* payload bytes */
    uint32_t        crc;         /* payload */
    uint16_t        kind;
    uint16_t        status;
} batch_pick_t;

typedef struct {
    uint32_t        chunk;
    uint32_t        epoch;       /* of the owner that sealed */
    uint64_t        sealed_us;   /* wall clock */
    uint64_t        ok;          /* BATCH_KIND_OUTPUT picks */
    uint64_t        failed;      /* BATCH_KIND_ERROR picks */
    batch_usage_t   usage;       /* sum over the OUTPUT picks */
    uint32_t        n;           /* picks */
    batch_pick_t   *picks;       /* sorted by line */
} batch_seal_t;

#define batch_seal_sec(s)  ((int64_t) ((s)->sealed_us / 1000000))

/* size of the encoded seal */
size_t batch_seal_size(const batch_seal_t *s);

/* writes batch_seal_size(s) bytes; batch_id is NUL-terminated */
void batch_seal_encode(const batch_seal_t *s, const char *batch_id,
    unsigned char *buf);

/*
 * Decodes the seal of that chunk and epoch of the batch into s; s->picks is
 * from malloc(), NULL if there are none, and the caller's to free().
 * BATCH_ERROR if the size, the magic or the CRC is wrong, or the lines are not
 * ascending; BATCH_FOREIGN if it is another's; BATCH_AGAIN if there is no
 * memory.  Only with BATCH_OK there is anything to free.
 */
int batch_seal_decode(const unsigned char *buf, size_t len,
    const char *batch_id, uint32_t chunk, uint32_t epoch, batch_seal_t *s);

#endif /* _BATCH_SEAL_H_INCLUDED_ */
