/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A client's text inside a message that is sent, stored or logged: the one way
 * in which it gets there.
 */

#ifndef _BATCH_SHOWN_H_INCLUDED_
#define _BATCH_SHOWN_H_INCLUDED_

#include "batch_core.h"

#define BATCH_SHOWN_MAX  128     /* bytes of the client's text */

typedef struct {
    char  text[BATCH_SHOWN_MAX + sizeof("...")];
} batch_shown_t;

/*
 * What a message shows of p[0..len): all of it, or the first BATCH_SHOWN_MAX
 * bytes, cut between characters, and "...".  It is valid UTF-8 (see
 * batch_utf8_repair()).  For characters that steer what shows them (C0, C1, line
 * separators, directions) stands '?': as JSON it is at most twice as long, and
 * in a log and on a terminal it does no harm.
 * Returns s->text, with its NUL.
 */
const char *batch_shown(batch_shown_t *s, const void *p, size_t len);

#endif /* _BATCH_SHOWN_H_INCLUDED_ */
