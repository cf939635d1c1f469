/*
 * Journal of a chunk: a segment file per (chunk, epoch), one writer, only
 * appended to.  A segment is a sequence of records; a record is a fixed header
 * and the finished output line (newline included).
 *
 * All integers little-endian.  The header carries the CRC-32C of the payload and
 * of itself, because the tail that a power cut leaves is not a torn line but,
 * on ext4, NUL bytes or a stale block.  A scan ends at the first record whose
 * magic, bounds, CRC or tag do not hold; no record behind it counts.
 *
 * The tag says whose the bytes are: batch, chunk and epoch.  A segment, a seal
 * or a stale block of another one is whole, but foreign.
 *
 * The base says how much of the segment was durable when the record was
 * written.  So whatever lies before the base of a good record is damaged if it
 * does not hold, while bytes that no base reaches over may just be what a crash
 * has left of the last group.
 *
 * A seal fixes which record of which segment counts for each line of the chunk
 * (the pick list).  Only a seal makes bytes part of a result.
 */

#ifndef _BATCH_RECORD_H_INCLUDED_
#define _BATCH_RECORD_H_INCLUDED_

#include "batch_core.h"
#include "batch_json.h"

#define BATCH_RECORD_MAGIC      0x32524342u      /* "BCR2" */
#define BATCH_RECORD_HEADER     84               /* bytes on disk */
#define BATCH_RECORD_MAX        (1u << 30)       /* payload, bytes */

#define BATCH_FOREIGN           -3               /* whole, but another's */

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
    uint64_t        tag;         /* batch_record_tag() of its segment */
    uint64_t        base;        /* bytes of the segment that were durable */
} batch_record_t;

/*
 * Names a segment or a seal: a hash of the NUL-terminated batch id, of chunk
 * and epoch.  It keeps mistakes apart, not forgers: who may write to the store
 * needs to forge nothing.
 */
uint64_t batch_record_tag(const char *batch_id, uint32_t chunk,
    uint32_t epoch);

/* header bytes for the record; r->crc, tag and base must be set */
void batch_record_encode(const batch_record_t *r,
    unsigned char buf[BATCH_RECORD_HEADER]);

/* BATCH_OK; BATCH_ERROR if this is no header; BATCH_FOREIGN if it is one, of
 * another tag */
int batch_record_decode(const unsigned char buf[BATCH_RECORD_HEADER],
    uint64_t tag, batch_record_t *r);

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

/*
 * Segments are read by a callback so that the scan can be tested without a
 * disk: read n bytes at off into buf; returns bytes read (short at the end of
 * the file), -1 on error.
 */
typedef ssize_t (*batch_record_read_pt)(void *ctx, void *buf, size_t n, uint64_t off);

/* one good record; off is that of its header.  Return BATCH_OK to go on. */
typedef int (*batch_record_pt)(void *ctx, const batch_record_t *r, uint64_t off);

typedef enum {
    BATCH_RECORD_WHOLE = 0,        /* there is nothing behind the last record */
    BATCH_RECORD_TORN,             /* what is there may never have been durable */
    BATCH_RECORD_DAMAGED,          /* it was durable, by the base of a record
                                    behind it, and does not hold */
    BATCH_RECORD_FOREIGN           /* a whole header of another tag */
} batch_record_end_e;

/*
 * Scans the segment of the tag from the start, checking the payloads' CRCs.
 * Returns the offset just behind the last good record, -1 if read or the
 * callback failed, or without memory; *end tells why it is the last one.  The
 * writer may be at work meanwhile.  Memory: one 64 KB buffer from malloc().
 */
int64_t batch_record_scan(batch_record_read_pt read, void *rctx, uint64_t tag,
    batch_record_pt record, void *cctx, batch_record_end_e *end);

/* size of the encoded seal */
size_t batch_seal_size(const batch_seal_t *s);

/* writes batch_seal_size(s) bytes; batch_id is NUL-terminated */
void batch_seal_encode(const batch_seal_t *s, const char *batch_id,
    unsigned char *buf);

/*
 * Decodes the seal of that chunk and epoch of the batch into s; s->picks is
 * malloc()ed, the caller frees it.  BATCH_ERROR if the size, the magic or the
 * CRC is wrong, or the lines are not ascending; BATCH_FOREIGN if it is
 * another's; BATCH_AGAIN if there is no memory.
 */
int batch_seal_decode(const unsigned char *buf, size_t len,
    const char *batch_id, uint32_t chunk, uint32_t epoch, batch_seal_t *s);

#endif
