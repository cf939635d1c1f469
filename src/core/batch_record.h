/*
 * Journal of a chunk: a segment file per (chunk, epoch), one writer, only
 * appended to.  A segment is a sequence of records; a record is a fixed header
 * and the finished output line (newline included).
 *
 * All integers little-endian.  The header carries the CRC-32C of the payload and
 * of itself, because the tail that a power cut leaves is not a torn line but,
 * on ext4, NUL bytes or a stale block.  A scan ends at the first record whose
 * magic, bounds or CRC do not hold; nothing after it is ever looked at.
 *
 * A seal fixes which record of which segment counts for each line of the chunk
 * (the pick list).  Only a seal makes bytes part of a result.
 */

#ifndef _BATCH_RECORD_H_INCLUDED_
#define _BATCH_RECORD_H_INCLUDED_

#include "batch_core.h"
#include "batch_json.h"

#define BATCH_RECORD_MAGIC      0x31524342u      /* "BCR1" */
#define BATCH_RECORD_HEADER     80               /* bytes on disk */
#define BATCH_RECORD_MAX        (1u << 30)       /* payload, bytes */

typedef enum {
    BATCH_KIND_OUTPUT = 1,       /* 2xx with a JSON body: the output file */
    BATCH_KIND_ERROR,            /* counts as failed: the error file */
    BATCH_KIND_CANCELLED,        /* error file, not counted as failed */
    BATCH_KIND_EXPIRED           /* error file, not counted as failed */
} batch_kind_e;

typedef struct {
    uint64_t        line;        /* physical line number in the input, 1-based */
    uint32_t        len;         /* payload bytes, newline included */
    uint32_t        crc;         /* CRC-32C of the payload */
    uint16_t        kind;        /* batch_kind_e */
    uint16_t        status;      /* HTTP status, 0 = no HTTP answer */
    batch_usage_t   usage;
} batch_record_t;

/* header bytes for the record; r->crc must be set */
void batch_record_encode(const batch_record_t *r,
    unsigned char buf[BATCH_RECORD_HEADER]);

/* BATCH_OK, or BATCH_ERROR if this is no header of ours */
int batch_record_decode(const unsigned char buf[BATCH_RECORD_HEADER],
    batch_record_t *r);

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

/*
 * Segments are read by a callback so that the scan can be tested without a
 * disk: read n bytes at off into buf; returns bytes read (short at the end of
 * the file), -1 on error.
 */
typedef ssize_t (*batch_read_pt)(void *ctx, void *buf, size_t n, uint64_t off);

/* one good record; off is that of its header.  Return BATCH_OK to go on. */
typedef int (*batch_record_pt)(void *ctx, const batch_record_t *r, uint64_t off);

/*
 * Scans a segment from the start, checking the payloads' CRCs.  Returns the
 * offset just behind the last good record, -1 if read or the callback failed.
 * Memory: one 64 KB buffer from malloc().
 */
int64_t batch_record_scan(batch_read_pt read, void *rctx,
    batch_record_pt record, void *cctx);

/* size of the encoded seal */
size_t batch_seal_size(const batch_seal_t *s);

/* writes batch_seal_size(s) bytes */
void batch_seal_encode(const batch_seal_t *s, unsigned char *buf);

/* Decodes into s; s->picks is malloc()ed, the caller frees it.  BATCH_ERROR if
 * the size, the magic or the CRC is wrong, or the lines are not ascending;
 * BATCH_AGAIN if there is no memory. */
int batch_seal_decode(const unsigned char *buf, size_t len, batch_seal_t *s);

#endif
