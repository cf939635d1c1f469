/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the files of this room share: system calls that log their own errors,
 * and where things lie.  Other rooms do not include this.
 *
 * A function that takes "id" names it in the log: the object that the call is
 * for, or the store's room ("tmp") if there is none.  All functions keep errno
 * for the caller.
 */

#ifndef _NGX_HTTP_BATCH_DISK_H_INCLUDED_
#define _NGX_HTTP_BATCH_DISK_H_INCLUDED_

#include "ngx_http_batch_store.h"

#include <dirent.h>
#include <jansson.h>

#define NGX_HTTP_BATCH_NAME_LEN  64      /* room for any name, NUL included */


/* ngx_http_batch_disk.c: system calls */

/* logs at level crit with errno: batch: <id>: <call> "<name>" failed */
void ngx_http_batch_disk_error(ngx_log_t *log, const char *id,
    const char *call, const char *name);

/* openat() with O_NOFOLLOW|O_CLOEXEC, over signals; logs nothing */
ngx_fd_t ngx_http_batch_disk_openat(ngx_fd_t dir, const char *name, int flags);

/* a regular file, for reading: NGX_INVALID_FILE with errno, of which ENOENT is
 * not logged; anything else there counts as damaged (store_damaged()) */
ngx_fd_t ngx_http_batch_disk_open(ngx_fd_t dir, const char *id,
    const char *name, ngx_log_t *log);

/* 1: it was removed since it was opened; keeps errno */
ngx_uint_t ngx_http_batch_disk_gone(ngx_fd_t dir);

/* keeps errno; NGX_INVALID_FILE is allowed */
void ngx_http_batch_disk_close(ngx_fd_t fd);

/* free(), keeps errno */
void ngx_http_batch_disk_free(void *p);

/* fsync(), for the name that was made or taken in the directory: NGX_OK or
 * NGX_ERROR; called once: a failed fsync is never repeated */
ngx_int_t ngx_http_batch_disk_sync_dir(ngx_fd_t dir, const char *id,
    const char *name, ngx_log_t *log);

/* reads all of a regular file; what store_read() promises */
ngx_int_t ngx_http_batch_disk_read(ngx_fd_t dir, const char *id,
    const char *name, size_t max, ngx_str_t *data, ngx_log_t *log);

/* fstatat() without following links: 1 there, 0 not there, NGX_ERROR: that
 * cannot be known; st may be NULL */
ngx_int_t ngx_http_batch_disk_stat(ngx_fd_t dir, const char *id,
    const char *name, struct stat *st, ngx_log_t *log);

/* NGX_OK also if there is no such name */
ngx_int_t ngx_http_batch_disk_unlink(ngx_fd_t dir, const char *id,
    const char *name, ngx_log_t *log);

/* dir/name ("." is dir itself), NULL on error; without a log nothing is
 * logged.  fdopendir() takes the descriptor over in any case. */
DIR *ngx_http_batch_disk_opendir(ngx_fd_t dir, const char *id,
    const char *name, ngx_log_t *log);
DIR *ngx_http_batch_disk_fdopendir(ngx_fd_t fd, const char *id,
    ngx_log_t *log);

/* the next name that does not begin with a dot; NULL with errno 0: no more,
 * NULL with an errno: it could not be read */
const char *ngx_http_batch_disk_readdir(DIR *d, const char *id,
    ngx_log_t *log);

void ngx_http_batch_disk_closedir(DIR *d);


/* ngx_http_batch_layout.c: the rooms of the store, and what lies where */

#define NGX_HTTP_BATCH_DIR_TMP      0
#define NGX_HTTP_BATCH_DIR_FILES    1
#define NGX_HTTP_BATCH_DIR_BATCHES  2
#define NGX_HTTP_BATCH_DIR_UPLOADS  3
#define NGX_HTTP_BATCH_DIR_KEYS     4
#define NGX_HTTP_BATCH_DIR_WORKERS  5
#define NGX_HTTP_BATCH_DIR_N        6

extern const char  *ngx_http_batch_layout_names[NGX_HTTP_BATCH_DIR_N];

/* by batch_id_kind_e, of those that have a room */
extern const ngx_uint_t  ngx_http_batch_layout_rooms[];

/* the open rooms; written in init_process, only read while threads run */
extern ngx_fd_t  ngx_http_batch_layout_dirs[NGX_HTTP_BATCH_DIR_N];

#define ngx_http_batch_layout_tmp                                             \
    ngx_http_batch_layout_dirs[NGX_HTTP_BATCH_DIR_TMP]

/*
 * The open directory in which the object of the id lives.  make = 1: it is
 * made, durably, where it is missing.  NGX_INVALID_FILE with errno; ENOENT is
 * not logged, except by must(), which never makes it.  The caller closes it.
 */
ngx_fd_t ngx_http_batch_layout_dir(ngx_http_batch_obj_e obj, const char *id,
    ngx_uint_t make, ngx_log_t *log);
ngx_fd_t ngx_http_batch_layout_must(ngx_http_batch_obj_e obj, const char *id,
    ngx_log_t *log);

/* the object's name in that directory */
void ngx_http_batch_layout_name(ngx_http_batch_obj_e obj, const char *id,
    char name[NGX_HTTP_BATCH_NAME_LEN]);

/* objects of this kind are JSON, with a checksum; it covers their name, too */
ngx_uint_t ngx_http_batch_layout_json(ngx_http_batch_obj_e obj);
ngx_uint_t ngx_http_batch_layout_named(ngx_http_batch_obj_e obj);

/* deletes what lies directly in the room and was not touched for age seconds,
 * unless a process has it open and locked: see ngx_http_batch_sweep_dir_t */
ngx_int_t ngx_http_batch_layout_sweep(ngx_http_batch_sweep_dir_t *s,
    ngx_uint_t room, time_t age, ngx_uint_t n, ngx_log_t *log);


/* ngx_http_batch_delete.c */

/* all of a deleted batch but its tombstone.  NGX_OK, NGX_ERROR. */
ngx_int_t ngx_http_batch_delete_rest(const char *batch_id, ngx_log_t *log);


/* ngx_http_batch_publish.c */

/* fdatasync, link, fsync(dir), unlink; what publish_tmp() promises.  keep = 1:
 * the name stays when the fsync of the directory fails, because others may
 * have acted on it */
ngx_int_t ngx_http_batch_publish_link(ngx_fd_t dir, const char *id,
    const char *name, ngx_fd_t fd, const char *tmp, ngx_uint_t keep,
    ngx_log_t *log);


/*
 * ngx_http_batch_sum.c: JSON objects.  On disk their last member is "crc",
 * eight hex digits.  It covers all before its comma and, with named = 1,
 * "<id>/<name>", where id is the object's ("keys" of a record of a key).  What
 * has several names, or may get some, is not named; its id is in it.
 * sum_read() hands out what sum_write() was given; what does not fit is logged:
 * NGX_ERROR with EBADMSG.
 */
ngx_int_t ngx_http_batch_sum_write(ngx_fd_t fd, const char *id,
    const char *name, ngx_uint_t named, const void *data, size_t len,
    ngx_log_t *log);
ngx_int_t ngx_http_batch_sum_read(ngx_fd_t dir, const char *id,
    const char *name, ngx_uint_t named, size_t max, ngx_str_t *data,
    ngx_log_t *log);


/* ngx_http_batch_segment.c: the batch's directory, names of its work files */

ngx_fd_t ngx_http_batch_segment_dir(const char *batch_id, ngx_log_t *log);
void ngx_http_batch_segment_name(uint32_t chunk, uint32_t epoch,
    ngx_uint_t seal, char name[NGX_HTTP_BATCH_NAME_LEN]);

/* what segment_walk() does, in an open directory, which it closes */
ngx_int_t ngx_http_batch_segment_walk_dir(DIR *d, const char *batch_id,
    ngx_http_batch_segment_walk_pt cb, void *ctx, ngx_log_t *log);


/*
 * ngx_http_batch_walk.c: the names below the shards of a room, which lie in
 * dirfd(w->shard).  next(): NGX_OK, NGX_AGAIN (go on: another shard), NGX_DONE,
 * NGX_ERROR.  close() of a zeroed one is allowed.
 */

typedef struct {
    DIR   *room;
    DIR   *shard;       /* NULL: the next one is to be opened */
} ngx_http_batch_walk_shards_t;

ngx_int_t ngx_http_batch_walk_shards_open(ngx_http_batch_walk_shards_t *w,
    ngx_uint_t room, ngx_log_t *log);
ngx_int_t ngx_http_batch_walk_shards_next(ngx_http_batch_walk_shards_t *w,
    const char **name, ngx_log_t *log);
void ngx_http_batch_walk_shards_close(ngx_http_batch_walk_shards_t *w);


/* ngx_http_batch_version.c */

#define NGX_HTTP_BATCH_VERSION_MAX  4096         /* bytes of the file */

/* of its text: NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_batch_version_decode(const u_char *data, size_t len,
    json_int_t *format);

/* for the master: NGX_OK; NGX_DECLINED, the store has
 * no version yet; NGX_ERROR, this module must not use it (told by cf) */
ngx_int_t ngx_http_batch_version_check(ngx_conf_t *cf, ngx_str_t *path,
    ngx_fd_t root);
/* of a store that has none; tmp is the open "tmp" of the store.  NGX_OK also if
 * it cannot be written (told by cf). */
ngx_int_t ngx_http_batch_version_write(ngx_conf_t *cf, ngx_str_t *path,
    ngx_fd_t root, ngx_fd_t tmp, ngx_uid_t uid);

#endif
