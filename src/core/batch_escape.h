/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Any bytes -> the inside of a JSON string.
 */

#ifndef _BATCH_ESCAPE_H_INCLUDED_
#define _BATCH_ESCAPE_H_INCLUDED_

#include "batch_core.h"

/*
 * Writes p[0..len) as the inside of a JSON string (no quotes): quotes,
 * backslashes, control bytes and the three line separators escaped, invalid
 * UTF-8 replaced by U+FFFD.  At most 6 * len bytes; returns the end.
 */
unsigned char *batch_escape_string(unsigned char *out, const unsigned char *p,
    size_t len);

#endif /* _BATCH_ESCAPE_H_INCLUDED_ */
