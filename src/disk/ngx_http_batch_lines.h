/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The lines of a range of an input file, one after the other, read in windows.
 * In a thread.  Memory: 1 MB, more only while a line needs it, and never more
 * than the longest line allowed and a window.  Of those that need more than
 * 9 MB there is one at a time in a process: the others wait, in their threads.
 */

#ifndef _NGX_HTTP_BATCH_LINES_H_INCLUDED_
#define _NGX_HTTP_BATCH_LINES_H_INCLUDED_

#include "ngx_http_batch.h"

#define NGX_HTTP_BATCH_LINES_WINDOW  (1024 * 1024)      /* bytes */
#define NGX_HTTP_BATCH_LINES_FREE    (9 * 1024 * 1024)  /* bytes, to each */

typedef struct {
    /* the line that next() has found */
    u_char        *line;         /* without the newline; till the next call */
    size_t         len;
    off_t          offset;       /* of the line in the file */
    uint64_t       number;       /* physical, 1-based in the file */
    ngx_uint_t     cut;          /* with an error: the file ends too early */

    /* private */
    ngx_fd_t       fd;
    ngx_log_t     *log;
    size_t         max;
    off_t          end;
    off_t          buf_off;      /* file offset of buf[0] */
    u_char        *buf;
    size_t         size;
    size_t         last;         /* bytes in buf */
    size_t         pos;          /* of the next line in buf */
    unsigned       skip:1;       /* within a line that is too long */
    unsigned       large:1;      /* it is the one with more than 9 MB */
} ngx_http_batch_lines_t;

/*
 * The range [from, to) of the file; from is where line first_number begins.
 * A byte-order mark at offset 0 is skipped.  max: bytes of a line.
 */
ngx_int_t ngx_http_batch_lines_init(ngx_http_batch_lines_t *l, ngx_fd_t fd,
    off_t from, off_t to, uint64_t first_number, size_t max, ngx_log_t *log);

/*
 *   NGX_OK        a line, blank ones too
 *   NGX_DECLINED  the line is longer than max: number and offset are set, the
 *                 next call goes on after it
 *   NGX_DONE      the range is read
 *   NGX_ERROR     it could not be read, or no memory
 */
ngx_int_t ngx_http_batch_lines_next(ngx_http_batch_lines_t *l);

void ngx_http_batch_lines_free(ngx_http_batch_lines_t *l);

#endif
