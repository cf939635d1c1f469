/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The disk: the truth.  The only room that names a path.
 *
 *   <store>/version                             the format of all of it
 *   <store>/tmp/<random>                        what is being written
 *   <store>/files/<xx>/<file id>                blob
 *   <store>/files/<xx>/<file id>.json           file object   <- commit point
 *   <store>/files/<xx>/<file id>.del            tombstone     <- commit point
 *   <store>/batches/<xx>/<batch id>/batch.json  batch object  <- commit point
 *                                  /input       hard link of the input blob
 *                                  /plan.json   it is good, and its chunks
 *                                  /cancel.json                <- commit point
 *                                  /final.json  the result     <- commit point
 *                                  /hook.json   its webhook was delivered
 *                                  /deleted.json  tombstone   <- commit point
 *                                  /c<chunk>.<epoch>.seg
 *                                  /c<chunk>.<epoch>.seal
 *   <store>/keys/...                            see ngx_http_batch_keys.h
 *   <store>/workers/<worker id>                 see ngx_http_batch_alive.h
 *   <store>/uploads/<xx>/<upload id>/...        see ngx_http_batch_uploads.h
 *   <xx>: the two characters of the id after its prefix
 *
 * Publishing: write in tmp/, fdatasync, link() to the name (EEXIST: another
 * process was first), fsync the directory, unlink the tmp name.  After an error
 * of fsync nothing is retried on the same file.  Ids are checked by the caller
 * with batch_id_check().  More is in docs/internals/disk.md.
 *
 * ALL functions of this header block, except those marked "any": call them in a
 * task.  They log system errors themselves (log may be a thread's) and keep
 * ngx_errno.
 */

#ifndef _NGX_HTTP_BATCH_STORE_H_INCLUDED_
#define _NGX_HTTP_BATCH_STORE_H_INCLUDED_

#include "ngx_http_batch.h"

typedef enum {
    NGX_HTTP_BATCH_BLOB = 0,       /* <file id> */
    NGX_HTTP_BATCH_FILE,           /* <file id>.json */
    NGX_HTTP_BATCH_FILE_DEL,       /* <file id>.del */
    NGX_HTTP_BATCH_META,           /* batch.json */
    NGX_HTTP_BATCH_INPUT,          /* input */
    NGX_HTTP_BATCH_PLAN,           /* plan.json */
    NGX_HTTP_BATCH_CANCEL,         /* cancel.json */
    NGX_HTTP_BATCH_FINAL,          /* final.json */
    NGX_HTTP_BATCH_HOOK,           /* hook.json */
    NGX_HTTP_BATCH_DELETED,        /* deleted.json */
    NGX_HTTP_BATCH_UPLOAD,         /* upload.json */
    NGX_HTTP_BATCH_UPLOAD_END      /* end.json */
} ngx_http_batch_obj_e;

#define NGX_HTTP_BATCH_TMP_LEN   33         /* tmp name, NUL included */
#define NGX_HTTP_BATCH_SEAL_MAX  (1024 * 1024 * 1024)     /* bytes of a seal */


/* ngx_http_batch_prepare.c */

/* Configuration time ("any"): makes or checks the directory and its rooms, 0700
 * and owned by uid, and the version of its format.  On refusal the message
 * names what to do; NGX_ERROR. */
ngx_int_t ngx_http_batch_prepare_store(ngx_conf_t *cf, ngx_str_t *path,
    ngx_uid_t uid);


/* ngx_http_batch_layout.c */

/* init_process ("any"): keeps the store's rooms open. */
ngx_int_t ngx_http_batch_layout_open(ngx_str_t *path, ngx_log_t *log);
void ngx_http_batch_layout_close(void);


/* ngx_http_batch_store.c: files in tmp/, and reading */

/* A new file in tmp/, read-write, 0600.  NGX_INVALID_FILE on error. */
ngx_fd_t ngx_http_batch_store_tmp(char name[NGX_HTTP_BATCH_TMP_LEN],
    ngx_log_t *log);
void ngx_http_batch_store_tmp_delete(const char *name, ngx_log_t *log);

/*
 * A directory that is swept, n names by each call: NGX_AGAIN: go on; NGX_OK,
 * NGX_ERROR (logged): that was all.  It is zeroed before the first call, and
 * given to sweep_end() if there will be no other.
 */
typedef struct {
    DIR     *dir;
    time_t   next;      /* when the oldest that stays is to go; 0: none stays */
} ngx_http_batch_sweep_dir_t;

void ngx_http_batch_layout_sweep_end(ngx_http_batch_sweep_dir_t *s);

/* deletes files in tmp/ not touched for age seconds, unless the process that
 * made one has it open still */
ngx_int_t ngx_http_batch_store_sweep_tmp(ngx_http_batch_sweep_dir_t *s,
    time_t age, ngx_uint_t n, ngx_log_t *log);

/* pwrite() all of it.  NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_batch_store_write(ngx_fd_t fd, const void *data, size_t len,
    off_t off, ngx_log_t *log);

/* pread() of n bytes, fewer at the end of the file; -1: twice they could not be
 * read, which was logged */
ssize_t ngx_http_batch_store_pread(ngx_fd_t fd, void *buf, size_t n, off_t off,
    ngx_log_t *log);

/*
 * Reads a whole small object, as it was published: a damaged one is logged and
 * NGX_ERROR (a file's manifest only if there is no tombstone; cancel mark,
 * result and end are made durable before they are handed out).  *data is from
 * ngx_alloc(), NUL-terminated (not counted).  NGX_OK, NGX_DECLINED (no such
 * object), NGX_ERROR (also > max).
 */
ngx_int_t ngx_http_batch_store_read(ngx_http_batch_obj_e obj, const char *id,
    size_t max, ngx_str_t *data, ngx_log_t *log);

/* publish_object() of what an encode() has made, which is free()d; without a
 * text NGX_ERROR with ENOMEM */
ngx_int_t ngx_http_batch_store_publish(ngx_http_batch_obj_e obj,
    const char *id, ngx_str_t text, ngx_log_t *log);

/* O_RDONLY|O_NOFOLLOW; NGX_INVALID_FILE with ngx_errno NGX_ENOENT is not
 * logged */
ngx_fd_t ngx_http_batch_store_open(ngx_http_batch_obj_e obj, const char *id,
    ngx_log_t *log);

/* 1, 0, or NGX_ERROR */
ngx_int_t ngx_http_batch_store_exists(ngx_http_batch_obj_e obj, const char *id,
    ngx_log_t *log);

/* fsync() of the directory that the object is in, for a reader that acts on an
 * object whose publisher may have died before its own.  NGX_OK, NGX_ERROR. */
ngx_int_t ngx_http_batch_store_sync(ngx_http_batch_obj_e obj, const char *id,
    ngx_log_t *log);

/* After an NGX_ERROR: 1 if the object itself is at fault (ngx_errno tells that
 * it is a link, not a regular file, too long, or cannot be decoded), so that
 * trying again is of no use until it was mended; 0 if reading it has failed. */
ngx_uint_t ngx_http_batch_store_damaged(void);


/* ngx_http_batch_publish.c */

/* Publishes small content under the object's name.  Results as below. */
ngx_int_t ngx_http_batch_publish_object(ngx_http_batch_obj_e obj,
    const char *id, const void *data, size_t len, ngx_log_t *log);

/* The same in two steps.  Fills the tmp file with the object's text (JSON gets
 * its checksum): NGX_OK or NGX_ERROR, also if it is a text that could not be
 * read again (see ngx_http_batch_reread.h). */
ngx_int_t ngx_http_batch_publish_write(ngx_http_batch_obj_e obj,
    const char *id, ngx_fd_t fd, const void *data, size_t len, ngx_log_t *log);

/*
 * Publishes the tmp file under the object's name; fd is not closed, the tmp
 * name is gone afterwards in any case.
 *   NGX_OK        durable
 *   NGX_DECLINED  the name exists already, and is durable now: another process
 *                 was first (a file's manifest, batch.json, cancel.json and
 *                 final.json: or it was deleted)
 *   NGX_ERROR     nothing published (ngx_errno is kept: NGX_ENOSPC ...)
 */
ngx_int_t ngx_http_batch_publish_tmp(ngx_http_batch_obj_e obj,
    const char *id, ngx_fd_t fd, const char *tmp, ngx_log_t *log);

/*
 * final.json.  decide = 1: cancel.json is made first, another name of the same
 * file (see ngx_http_batch_cancel.h); NGX_ABORT: it was there, and nothing is
 * published.  Otherwise as above; the names are durable together.  Of a batch
 * that was deleted: NGX_ERROR.
 */
ngx_int_t ngx_http_batch_publish_final(const char *batch_id,
    const void *data, size_t len, ngx_uint_t decide, ngx_log_t *log);

/* A result's manifest: another name of the batch's final.json, not synced.
 * NGX_OK (also if it is there), NGX_DECLINED (deleted), NGX_ERROR. */
ngx_int_t ngx_http_batch_publish_manifest(const char *batch_id,
    const char *file_id, ngx_log_t *log);

/* Hard link of a file's blob as the batch's input: deleting the file later does
 * not pull it from under a running batch.  Not synced: what is published next
 * in the directory is, and a plan without input counts as none.  NGX_OK (also
 * if it is there), NGX_DECLINED (no such blob), NGX_ERROR. */
ngx_int_t ngx_http_batch_publish_input(const char *batch_id,
    const char *file_id, ngx_log_t *log);


/* ngx_http_batch_delete.c */

/* Tombstone (durable), then manifest and blob are unlinked.  NGX_OK,
 * NGX_DECLINED (no such file, or deleted before), NGX_ERROR. */
ngx_int_t ngx_http_batch_delete_file(const char *file_id, ngx_log_t *log);

/* An ended batch: manifests of its results, which stay, durable; tombstone;
 * then its names are unlinked.  As above; NGX_ERROR, and an alert, if it has
 * not ended. */
ngx_int_t ngx_http_batch_delete_batch(const char *batch_id, ngx_log_t *log);

/* of a plan that has lost its input: NGX_DECLINED (there is none now),
 * NGX_ERROR */
ngx_int_t ngx_http_batch_delete_plan(const char *batch_id, ngx_log_t *log);

/* the blob of a file that was never published; NGX_OK also if it is gone */
ngx_int_t ngx_http_batch_delete_blob(const char *file_id, ngx_log_t *log);

/* a batch's segments, seals and input link, after final.json is durable */
ngx_int_t ngx_http_batch_delete_work(const char *batch_id, ngx_log_t *log);


/* ngx_http_batch_segment.c */

/* O_CREAT|O_EXCL, directory synced.  NGX_INVALID_FILE with ngx_errno
 * NGX_EEXIST: that epoch was used, claim a higher one. */
ngx_fd_t ngx_http_batch_segment_create(const char *batch_id,
    uint32_t chunk, uint32_t epoch, ngx_log_t *log);
/* NGX_INVALID_FILE with NGX_ENOENT: none, or a link, which was logged */
ngx_fd_t ngx_http_batch_segment_open(const char *batch_id,
    uint32_t chunk, uint32_t epoch, ngx_log_t *log);

/* epochs of the chunk's segments (seals = 0) or seals (seals = 1), ascending,
 * in *epochs from ngx_alloc(); returns how many, or NGX_ERROR */
ngx_int_t ngx_http_batch_segment_epochs(const char *batch_id, uint32_t chunk,
    ngx_uint_t seals, uint32_t **epochs, ngx_log_t *log);

/* Calls cb for every segment (seal = 0) and seal (seal = 1) of the batch, in no
 * order, until it returns other than NGX_OK; returns that, or NGX_ERROR. */
typedef ngx_int_t (*ngx_http_batch_segment_walk_pt)(void *ctx, uint32_t chunk,
    uint32_t epoch, ngx_uint_t seal);
ngx_int_t ngx_http_batch_segment_walk(const char *batch_id,
    ngx_http_batch_segment_walk_pt cb, void *ctx, ngx_log_t *log);


/* ngx_http_batch_seal.c */

ngx_int_t ngx_http_batch_seal_publish(const char *batch_id, uint32_t chunk,
    uint32_t epoch, const void *data, size_t len, ngx_log_t *log);

/* NGX_DECLINED: none, or none that can be read; data as in store_read() */
ngx_int_t ngx_http_batch_seal_read(const char *batch_id, uint32_t chunk,
    uint32_t epoch, ngx_str_t *data, ngx_log_t *log);

/* reads and decodes.  NGX_OK: seal->picks are to be free()d; NGX_DECLINED:
 * there is none, or one that is void, which was logged; NGX_ERROR: trouble, or
 * no memory. */
ngx_int_t ngx_http_batch_seal_load(const char *batch_id, uint32_t chunk,
    uint32_t epoch, batch_seal_t *seal, ngx_log_t *log);

/* of a void one; NGX_OK also if there is none */
ngx_int_t ngx_http_batch_seal_delete(const char *batch_id, uint32_t chunk,
    uint32_t epoch, ngx_log_t *log);


/* ngx_http_batch_walk.c */

/*
 * All ids of the kind on disk (tombstoned files left out; uploads with whatever
 * is left of them).  walk_next() fills id: NGX_OK, NGX_DONE (no more),
 * NGX_ERROR.  One thread at a time; the walk may go on in another task.
 */
typedef struct ngx_http_batch_walk_s  ngx_http_batch_walk_t;

ngx_http_batch_walk_t *ngx_http_batch_walk_open(batch_id_kind_e kind,
    ngx_log_t *log);
ngx_int_t ngx_http_batch_walk_next(ngx_http_batch_walk_t *w,
    char id[BATCH_ID_LEN], ngx_log_t *log);
void ngx_http_batch_walk_close(ngx_http_batch_walk_t *w);


/* ngx_http_batch_orphan.c */

/*
 * What crashes have left, found in one walk over batches and then files.
 * orphan_next() looks at one name:
 *   NGX_AGAIN     done with it
 *   NGX_OK        id is a batch that has ended: its result is to be settled,
 *                 and what work files it has are to be deleted
 *   NGX_DONE      that was all
 *   NGX_ERROR     the walk cannot go on
 * By itself it deletes, when not touched for NGX_HTTP_BATCH_ORPHAN_AGE seconds:
 * directories of batches that were never created, or were deleted, blobs
 * without a manifest, tombstones of what is gone; and it finishes deletions that were cut short.
 * A blob that a final.json names has its manifest by the time the walk comes to
 * the files, if all batches were settled before.
 */

/* s; longer than a key lives, and than a blob may wait for its manifest */
#define NGX_HTTP_BATCH_ORPHAN_AGE  (48 * 3600)

typedef struct ngx_http_batch_orphans_s  ngx_http_batch_orphans_t;

ngx_http_batch_orphans_t *ngx_http_batch_orphan_open(ngx_log_t *log);
ngx_int_t ngx_http_batch_orphan_next(ngx_http_batch_orphans_t *o,
    char id[BATCH_ID_LEN], ngx_log_t *log);
/* a batch could not be settled: blobs stay, whatever they look like */
void ngx_http_batch_orphan_unsure(ngx_http_batch_orphans_t *o);
void ngx_http_batch_orphan_close(ngx_http_batch_orphans_t *o);

#endif
