/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Types shared by the pure rooms.  Nothing below src/core knows a request,
 * an event, a pool or Redis: everything here links into a small main().
 */

#ifndef _BATCH_CORE_H_INCLUDED_
#define _BATCH_CORE_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* a span of somebody else's bytes; not NUL-terminated, never freed here */
typedef struct {
    size_t                len;
    const unsigned char  *data;
} batch_str_t;

#define batch_string(s)  { sizeof(s) - 1, (const unsigned char *) (s) }

#define BATCH_OK        0
#define BATCH_ERROR    -1
#define BATCH_AGAIN    -2

#endif /* _BATCH_CORE_H_INCLUDED_ */
