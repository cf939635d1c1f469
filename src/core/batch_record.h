/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Journal of a chunk: a segment file for each chunk and epoch, with one writer
 * that only appends.  A segment is a sequence of records; a record is a fixed
 * header and the finished output line (newline included).
 *
 * All integers are little-endian.  The header carries the CRC-32C of the
 * payload and of itself, because the tail that a power cut leaves is not a torn
 * line but, on ext4, NUL bytes or a stale block.  A scan ends at the first
 * record whose magic, bounds, CRC or tag do not hold; no later record counts.
 *
 * The tag says whose the bytes are: batch, chunk and epoch.  A segment, a seal
 * or a stale block of another one is whole, but foreign.
 *
 * The base says how much of the segment was durable when the record was
 * written.  So what lies before the base of a good record is damaged if it does
 * not hold, while bytes that no base covers may just be what a crash has left
 * of the last group.
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
    uint64_t        line;        /* physical line of the input, from 1 */
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
 * and epoch.  It guards against mistakes, not against forgers: who may write to
 * the store does not need to forge.
 */
uint64_t batch_record_tag(const char *batch_id, uint32_t chunk,
    uint32_t epoch);

/* 1 if kind is one of batch_kind_e */
int batch_record_known(uint16_t kind);

/* the 40 bytes of usage in a record or a seal; what is read is clamped */
void batch_record_put_usage(unsigned char *p, const batch_usage_t *usage);
void batch_record_get_usage(const unsigned char *p, batch_usage_t *usage);

/* header bytes for the record; r->crc, tag and base must be set */
void batch_record_encode(const batch_record_t *r,
    unsigned char buf[BATCH_RECORD_HEADER]);

/* BATCH_OK; BATCH_ERROR if this is not a header; BATCH_FOREIGN if it is one of
 * another tag */
int batch_record_decode(const unsigned char buf[BATCH_RECORD_HEADER],
    uint64_t tag, batch_record_t *r);

/*
 * Segments are read by a callback so that the scan can be tested without a
 * disk: reads n bytes at off into buf; returns bytes read (fewer at the end of
 * the file), -1 on error.
 */
typedef ssize_t (*batch_record_read_pt)(void *ctx, void *buf, size_t n,
    uint64_t off);

/* one good record; off is that of its header.  Returns BATCH_OK to go on. */
typedef int (*batch_record_pt)(void *ctx, const batch_record_t *r,
    uint64_t off);

typedef enum {
    BATCH_RECORD_WHOLE = 0,      /* nothing follows the last record */
    BATCH_RECORD_TORN,           /* what follows may never have been durable */
    BATCH_RECORD_DAMAGED,        /* what follows was durable, by the base of a
                                    later record, and does not hold */
    BATCH_RECORD_FOREIGN         /* a whole header of another tag follows */
} batch_record_end_e;

/*
 * Scans the segment of the tag from the start, checking the payloads' CRCs.
 * Returns the offset just after the last good record, -1 if read or the
 * callback failed, or there is no memory; *end tells why it is the last one.
 * The writer may be at work meanwhile.  Memory: one 64 KB buffer from malloc().
 */
int64_t batch_record_scan(batch_record_read_pt read, void *rctx, uint64_t tag,
    batch_record_pt record, void *cctx, batch_record_end_e *end);

#endif /* _BATCH_RECORD_H_INCLUDED_ */
