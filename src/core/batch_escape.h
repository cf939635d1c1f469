/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Any bytes -> the inside of a JSON string, or percent-encoded text.
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

/*
 * Writes p[0..len) with every byte as %XX, except for ASCII letters, digits
 * and those in keep, which must be printable ASCII without '%'.  At most
 * 3 * len bytes; returns the end.
 */
unsigned char *batch_escape_percent(unsigned char *out, const unsigned char *p,
    size_t len, const char *keep);

#endif /* _BATCH_ESCAPE_H_INCLUDED_ */
