/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Paths of the API: a location's prefix, right behind it the name of a
 * collection, and what may follow that.  Each call has one path, and each path
 * is one call at most: rules that name a path would otherwise be passed by
 * another way to write it.
 */

#ifndef _BATCH_PATH_H_INCLUDED_
#define _BATCH_PATH_H_INCLUDED_

#include "batch_core.h"

/* that of one object directly follows that of its collection */

typedef enum {
    BATCH_PATH_FILES = 0,
    BATCH_PATH_FILE,
    BATCH_PATH_FILE_CONTENT,
    BATCH_PATH_BATCHES,
    BATCH_PATH_BATCH,
    BATCH_PATH_BATCH_CANCEL,
    BATCH_PATH_UPLOADS,
    BATCH_PATH_UPLOAD,
    BATCH_PATH_UPLOAD_PART,
    BATCH_PATH_UPLOAD_COMPLETE,
    BATCH_PATH_UPLOAD_CANCEL,
    BATCH_PATH_N
} batch_path_e;

typedef struct {
    batch_path_e   call;
    batch_str_t    id;               /* len 0: none; any bytes but a slash */
} batch_path_t;

/* p is what follows the prefix: "files", "files/<id>/content".  BATCH_ERROR:
 * that is no call */
int batch_path_parse(const unsigned char *p, size_t len, batch_path_t *path);

/* where the first segment begins that is the name of a collection; it follows
 * a slash.  len: there is none */
size_t batch_path_collection(const unsigned char *uri, size_t len);

/*
 * How much of the name of a location is its prefix: all of it, or, if a
 * collection's name is its last segment, what stands before that.  With exact,
 * the name is a whole path: before the first such segment.  A prefix that does
 * not end with a slash has to be followed by one.
 */
size_t batch_path_prefix(const unsigned char *name, size_t len, int exact);

/*
 * How many bytes of a path, as the client wrote it, are the prefix; 0 if it
 * does not begin with it.  Only what cannot be written otherwise may be
 * percent-encoded: no letters, digits, "-._~" and slashes.
 */
size_t batch_path_written(const unsigned char *p, size_t len,
    const unsigned char *prefix, size_t prefix_len);

#endif /* _BATCH_PATH_H_INCLUDED_ */
