/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A multipart/form-data body: one part is a file, which goes to tmp/ while it
 * arrives; the others are short texts.  Parts may come in any order; those
 * with other names are ignored.
 *
 * The form is the beginning of what op->data points to.  Its owner sets the
 * first group of fields, calls ngx_http_batch_form_check() and init(), and
 * ngx_http_batch_body_start() when it wants the body.  Then:
 *
 *   on_head()  once, before anything of the file is written: buf[cur], len is
 *              the file's beginning, or all of it
 *   on_field() a text part has ended: part, field
 *   on_grow()  the file has more bytes than granted, and none of those beyond
 *              is written: NGX_AGAIN, then granted is raised (or skip set) and
 *              ngx_http_batch_body_resume() called; or NGX_DONE
 *   on_end()   the body is complete and no task is pending; the file's rest is
 *              still in memory.  The owner's task calls
 *              ngx_http_batch_form_flush() first: then op->fd and tmp are the
 *              whole file, not synced.  If it wants every line checked, it
 *              asks ngx_http_batch_form_bad() when the task is done.
 *
 * Callbacks return NGX_OK, or NGX_DONE if they have answered.  Until the owner
 * sets op->abandon to NULL, whatever ends the op deletes the tmp file.
 */

#ifndef _NGX_HTTP_BATCH_FORM_H_INCLUDED_
#define _NGX_HTTP_BATCH_FORM_H_INCLUDED_

#include "ngx_http_batch_op.h"
#include "ngx_http_batch_store.h"
#include "batch_check.h"
#include "batch_multipart.h"

#include <ngx_sha1.h>


#define NGX_HTTP_BATCH_FORM_BUFFER  (256 * 1024)
#define NGX_HTTP_BATCH_FORM_FIELD   8192          /* of a text part, bytes */
#define NGX_HTTP_BATCH_FORM_EXTRA   (1024 * 1024) /* of a body, beside the
                                                     file */

#define NGX_HTTP_BATCH_FORM_FILE    1             /* of names */


typedef struct {
    const ngx_str_t      *names;       /* [0] is unused, [1] the file's */
    ngx_uint_t            n;           /* names */
    off_t                 max;         /* of the file, bytes; 0: no limit */
    const char           *too_large;   /* the message if it has more: 413 */
    ngx_int_t           (*on_head)(ngx_http_batch_op_t *op);     /* or NULL */
    ngx_int_t           (*on_field)(ngx_http_batch_op_t *op);    /* or NULL */
    ngx_int_t           (*on_grow)(ngx_http_batch_op_t *op);     /* or NULL */
    off_t                 granted;     /* of the file, bytes */
    ngx_http_batch_op_pt  on_end;
    batch_check_t        *check;       /* every line must be JSON; or NULL */
    unsigned              named:1;     /* the file must have a filename */
    unsigned              hashed:1;    /* sha1 is wanted */
    unsigned              skip:1;      /* of the file only the sha1 is: nothing
                                          is written */

    off_t                 bytes;       /* of the file */
    ngx_str_t             filename;    /* of the op's pool, valid UTF-8 */
    ngx_uint_t            seen;        /* bit per name */
    ngx_uint_t            part;        /* the current one */
    ngx_str_t             field;       /* its text */
    u_char                text[NGX_HTTP_BATCH_FORM_FIELD];

    u_char               *buf[2];
    ngx_uint_t            cur;         /* being filled */
    size_t                len;         /* bytes in it */
    char                  tmp[NGX_HTTP_BATCH_TMP_LEN];
    ngx_sha1_t            sha1;        /* of the file, once it is flushed */

    /* private */
    batch_multipart_t     mp;
    ngx_str_t             rest;        /* of a DATA event */
    u_char               *out;         /* being written */
    size_t                out_len;
    off_t                 written;     /* offset of out */
    unsigned              headed:1;
    unsigned              begun:1;     /* some of the body has come */
    unsigned              ended:1;     /* the body is complete */
} ngx_http_batch_form_t;


#define ngx_http_batch_form_has(form, part)  ((form)->seen & (1 << (part)))


/* NGX_OK, or NGX_DONE if the op was rejected because of the headers alone */
ngx_int_t ngx_http_batch_form_check(ngx_http_batch_op_t *op);

/* of a file of which more comes: how many bytes it has at least, and how many
 * its place should have */
void ngx_http_batch_form_wants(ngx_http_batch_op_t *op, off_t *bytes,
    off_t *most);

/* NGX_OK, or NGX_DONE if the op was rejected; sets op->take, end, abandon */
ngx_int_t ngx_http_batch_form_init(ngx_http_batch_op_t *op);

/* 1: a line of the file is not JSON, and the op was rejected */
ngx_uint_t ngx_http_batch_form_bad(ngx_http_batch_op_t *op);
void ngx_http_batch_form_bad_line(ngx_http_batch_op_t *op, const char *param,
    const batch_check_t *check);

/* in a task: writes what is left in memory to the tmp file; NGX_OK, or
 * NGX_ERROR with op->err, NGX_ABORT for a bad line: then that file is gone */
ngx_int_t ngx_http_batch_form_flush(ngx_http_batch_op_t *op, ngx_log_t *log);


#endif /* _NGX_HTTP_BATCH_FORM_H_INCLUDED_ */
