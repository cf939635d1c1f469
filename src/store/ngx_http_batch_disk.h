/*
 * Inside the room of the disk: what its files (store, prepare, publish,
 * segment, walk) share.  Nobody else includes this.
 */

#ifndef _NGX_HTTP_BATCH_DISK_H_INCLUDED_
#define _NGX_HTTP_BATCH_DISK_H_INCLUDED_

#include "ngx_http_batch_store.h"

#define NGX_HTTP_BATCH_NAME_LEN  64      /* room for any name, NUL included */

#define NGX_HTTP_BATCH_DIR_TMP      0
#define NGX_HTTP_BATCH_DIR_FILES    1
#define NGX_HTTP_BATCH_DIR_BATCHES  2
#define NGX_HTTP_BATCH_DIR_UPLOADS  3
#define NGX_HTTP_BATCH_DIR_KEYS     4
#define NGX_HTTP_BATCH_DIR_WORKERS  5
#define NGX_HTTP_BATCH_DIR_N        6

extern const char  *ngx_http_batch_dir_names[NGX_HTTP_BATCH_DIR_N];

/* the open rooms; written in init_process, only read while threads run */
extern ngx_fd_t  ngx_http_batch_dirs[NGX_HTTP_BATCH_DIR_N];

/* logs at level crit with errno, which is kept for the caller */
void ngx_http_batch_disk_error(ngx_log_t *log, const char *call,
    const char *name);

/* openat() with O_NOFOLLOW|O_CLOEXEC, over signals; silent */
ngx_fd_t ngx_http_batch_disk_openat(ngx_fd_t dir, const char *name, int flags);

/* a regular file, for reading: NGX_INVALID_FILE with errno, of which ENOENT is
 * silent; what it is instead counts as damaged (store_damaged()) */
ngx_fd_t ngx_http_batch_disk_open(ngx_fd_t dir, const char *name,
    ngx_log_t *log);

/* 0, or -1 with errno; called once: a failed fsync is never repeated */
int ngx_http_batch_disk_sync_dir(ngx_fd_t dir);

/*
 * The open directory in which the object of the id lives.  make = 1: it is
 * made, durably, where it is missing.  NGX_INVALID_FILE with errno; ENOENT is
 * silent.  The caller closes it.
 */
ngx_fd_t ngx_http_batch_disk_dir(ngx_http_batch_obj_e obj, const char *id,
    ngx_uint_t make, ngx_log_t *log);

/* the object's name in that directory */
void ngx_http_batch_disk_name(ngx_http_batch_obj_e obj, const char *id,
    char name[NGX_HTTP_BATCH_NAME_LEN]);

/* fdatasync, link, fsync(dir), unlink; what publish_tmp() promises.  keep = 1:
 * the name stays when the fsync of the directory fails, because others may
 * have acted on it */
ngx_int_t ngx_http_batch_disk_link(ngx_fd_t dir, const char *name,
    ngx_fd_t fd, const char *tmp, ngx_uint_t keep, ngx_log_t *log);

/* reads all of a regular file; what store_read() promises */
ngx_int_t ngx_http_batch_disk_read(ngx_fd_t dir, const char *name, size_t max,
    ngx_str_t *data, ngx_log_t *log);

/*
 * JSON objects: on disk their last member is "crc", eight hex digits.  It covers
 * all before its comma and, with named = 1, "<where>/<name>", where is the
 * object's id ("keys" of a record of a key).  What has several names, or may get
 * some, is not named; its id is in it.  read_json() hands out what write_json()
 * was given; what does not fit is told of: NGX_ERROR with EBADMSG.
 */
ngx_int_t ngx_http_batch_disk_write_json(ngx_fd_t fd, const char *where,
    const char *name, ngx_uint_t named, const void *data, size_t len,
    ngx_log_t *log);
ngx_int_t ngx_http_batch_disk_read_json(ngx_fd_t dir, const char *where,
    const char *name, ngx_uint_t named, size_t max, ngx_str_t *data,
    ngx_log_t *log);

/* deletes what lies directly in the room and was not touched for age seconds */
void ngx_http_batch_disk_sweep(ngx_uint_t room, time_t age, ngx_log_t *log);

/* NGX_OK also if there is no such name */
ngx_int_t ngx_http_batch_disk_unlink(ngx_fd_t dir, const char *name,
    ngx_log_t *log);

/* objects of this kind are JSON, with a checksum; it covers their name, too */
ngx_uint_t ngx_http_batch_disk_json(ngx_http_batch_obj_e obj);
ngx_uint_t ngx_http_batch_disk_named(ngx_http_batch_obj_e obj);

/* 1, 0, or NGX_ERROR (logged) if that cannot be known */
ngx_int_t ngx_http_batch_disk_has(ngx_fd_t dir, const char *name,
    ngx_log_t *log);

#endif
