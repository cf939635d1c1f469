/*
 * Is every line of a file JSON?  Streaming: any split of the input gives the
 * same verdict.  Fixed memory, however long a line is.  Blank lines are skipped
 * and counted; the last line may have no newline; a byte-order mark may begin
 * the file's first line.  JSON as batch_json.h has it.
 */

#ifndef _BATCH_CHECK_H_INCLUDED_
#define _BATCH_CHECK_H_INCLUDED_

#include "batch_json.h"

typedef struct {
    uint64_t        line;        /* being read, from 1; after ERROR the bad one */
    uint64_t        at;          /* after ERROR: byte of the line, from 1 */
    const char     *error;       /* what is wrong; static.  NULL: nothing yet */

    /* private */
    uint64_t        len;         /* of the line, bytes read */
    unsigned        mark;        /* of the byte-order mark, bytes read */
    int             begun;       /* it is not blank */
    batch_json_t    json;
} batch_check_t;

void batch_check_init(batch_check_t *c);

/* BATCH_OK, or BATCH_ERROR at the first bad line and from then on */
int batch_check_feed(batch_check_t *c, const unsigned char *p, size_t len);

/* the file has ended: the same of its last line */
int batch_check_finish(batch_check_t *c);

#endif /* _BATCH_CHECK_H_INCLUDED_ */
