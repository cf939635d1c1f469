/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The headers of a part of multipart/form-data.  Private to the multipart
 * parser.
 */

#ifndef _BATCH_PART_H_INCLUDED_
#define _BATCH_PART_H_INCLUDED_

#include "batch_multipart.h"

/* forgets the last part */
void batch_part_reset(batch_multipart_t *mp);

/* One header line, without its CRLF, in mp->header.  BATCH_ERROR: mp->error */
int batch_part_header(batch_multipart_t *mp, unsigned char *p, size_t len);

/* all headers of the part are read.  BATCH_ERROR: mp->error */
int batch_part_ready(batch_multipart_t *mp);

#endif /* _BATCH_PART_H_INCLUDED_ */
