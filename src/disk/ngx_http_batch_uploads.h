/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The disk of the Uploads API.  It is the whole truth: Redis knows nothing of
 * uploads, so any worker of any node sees the same.
 *
 *   <store>/uploads/<xx>/<upload id>/upload.json   what was asked for <- commit
 *                                   /<part id>     a part's bytes     <- commit
 *                                   /<file id>     parts, joined by a complete
 *                                                  call; a name of its own each
 *                                   /end.json      completed, cancelled or
 *                                                  expired            <- commit
 *
 * An upload ends once: the process that publishes end.json first decides.  That
 * of a completed one has the manifest of its file in it, from which blob and
 * manifest in files/ are made by ngx_http_batch_uploads_finish(), also later by
 * others.
 *
 * All functions: call them in a task.  They log system errors themselves and
 * keep errno for the caller.
 */

#ifndef _NGX_HTTP_BATCH_UPLOADS_H_INCLUDED_
#define _NGX_HTTP_BATCH_UPLOADS_H_INCLUDED_

#include "ngx_http_batch_store.h"
#include "ngx_http_batch_object.h"

#define NGX_HTTP_BATCH_UPLOAD_PARTS_MAX  4096     /* of one upload */
#define NGX_HTTP_BATCH_UPLOAD_JSON_MAX   65536    /* upload.json, end.json */

/* what is on disk of an upload; strings point into the roots */
typedef struct {
    ngx_http_batch_upload_t          upload;
    ngx_http_batch_upload_status_e   status;     /* expired also by the clock */
    ngx_str_t                        parts;      /* of a completed one ... */
    ngx_http_batch_file_t            file;       /* ... and its file */
    json_t                          *root;
    json_t                          *end;        /* NULL: none is published */
} ngx_http_batch_upload_state_t;

/* NGX_OK, NGX_DECLINED (no such upload), NGX_ERROR.  now: seconds.  After
 * NGX_OK the state is to be given to uploads_free(). */
ngx_int_t ngx_http_batch_uploads_load(const char *id, int64_t now,
    ngx_http_batch_upload_state_t *st, ngx_log_t *log);
void ngx_http_batch_uploads_free(ngx_http_batch_upload_state_t *st);

/* publishes end.json; NGX_DECLINED: it has ended already, read it again */
ngx_int_t ngx_http_batch_uploads_end(const char *id,
    ngx_http_batch_upload_status_e status, const char *parts,
    const ngx_http_batch_file_t *f, ngx_log_t *log);

/* publishes the tmp file as a part, or, with the id of a file, as the joined
 * parts; the tmp name is gone afterwards.  NGX_DECLINED: the upload is gone */
ngx_int_t ngx_http_batch_parts_publish(const char *id, const char *part,
    ngx_fd_t fd, const char *tmp, ngx_log_t *log);

/* how many parts there are, and their bytes; NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_batch_parts_sum(const char *id, ngx_uint_t *n,
    off_t *bytes, ngx_log_t *log);

/* bytes of one part; NGX_DECLINED: there is none */
ngx_int_t ngx_http_batch_parts_size(const char *id, const char *part,
    off_t *bytes, ngx_log_t *log);

/*
 * One process at a time joins the parts of an upload, until it closes *fd or
 * dies.  NGX_AGAIN: another one does; NGX_DECLINED: the upload is gone.  NGX_OK,
 * too, on a filesystem without locks.
 */
ngx_int_t ngx_http_batch_parts_lock(const char *id, ngx_fd_t *fd,
    ngx_log_t *log);

/*
 * Appends a part to the file at *off, and advances it.  The bytes do not go
 * through memory of ours where the system can do without, otherwise 1 MB at a
 * time.  NGX_DECLINED: there is no such part; NGX_ABORT: the worker is to
 * leave.
 */
ngx_int_t ngx_http_batch_parts_append(const char *id, const char *part,
    ngx_fd_t fd, off_t *off, ngx_log_t *log);

/* by the id of a part, or of a file that parts were joined for */
void ngx_http_batch_parts_delete(const char *id, const char *name,
    ngx_log_t *log);

/* Of a completed upload: blob and manifest of its file, durable.  NGX_OK,
 * NGX_DECLINED (the file was deleted since), NGX_ERROR.  *made is 1 if the
 * manifest was missing until now. */
ngx_int_t ngx_http_batch_uploads_finish(const char *id,
    const ngx_http_batch_file_t *f, ngx_uint_t *made, ngx_log_t *log);

/* deletes everything but the JSON files, of an upload that has ended (and is
 * finished) */
void ngx_http_batch_uploads_clean(const char *id, ngx_log_t *log);

/* deletes all of it, upload.json first */
void ngx_http_batch_uploads_delete(const char *id, ngx_log_t *log);

/* 1 if nothing in the upload's directory was touched for age seconds */
ngx_uint_t ngx_http_batch_uploads_old(const char *id, time_t age,
    ngx_log_t *log);

/* the name of a file in the upload's directory is an id of the kind */
ngx_uint_t ngx_http_batch_uploads_named(const char *name,
    batch_id_kind_e kind);

#endif
