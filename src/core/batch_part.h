/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The headers of a part of multipart/form-data.  Private to the multipart
 * parser.
 */

#ifndef _BATCH_PART_H_INCLUDED_
#define _BATCH_PART_H_INCLUDED_

#include "batch_multipart.h"

/* forgets the previous part */
void batch_part_reset(batch_multipart_t *mp);

/* One header line, without its CRLF; p points into mp->header.  BATCH_OK, or
 * BATCH_ERROR with mp->error. */
int batch_part_header(batch_multipart_t *mp, unsigned char *p, size_t len);

/* The part has no more headers.  BATCH_OK, or BATCH_ERROR with mp->error. */
int batch_part_ready(batch_multipart_t *mp);

#endif /* _BATCH_PART_H_INCLUDED_ */
