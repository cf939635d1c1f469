
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The disk: open rooms, shard directories, files in tmp/.
 */


#include "ngx_http_batch_disk.h"

#include <dirent.h>
#include <sys/file.h>


static ngx_uint_t ngx_http_batch_disk_lives(ngx_fd_t dir, const char *name);


const char  *ngx_http_batch_dir_names[NGX_HTTP_BATCH_DIR_N] = {
    "tmp", "files", "batches", "uploads", "keys", "workers"
};

ngx_fd_t  ngx_http_batch_dirs[NGX_HTTP_BATCH_DIR_N] = {
    NGX_INVALID_FILE, NGX_INVALID_FILE, NGX_INVALID_FILE, NGX_INVALID_FILE,
    NGX_INVALID_FILE, NGX_INVALID_FILE
};

/* begun and ended count the syncs of a room; one runs at a time */

typedef struct {
    pthread_mutex_t   mutex;
    pthread_cond_t    cond;
    uint64_t          begun;
    uint64_t          ended;
    uint64_t          failed;      /* the last that did */
    ngx_err_t         err;
} ngx_http_batch_room_sync_t;

#define ngx_http_batch_room_sync                                              \
    { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, 0 }

static ngx_http_batch_room_sync_t
    ngx_http_batch_room_syncs[NGX_HTTP_BATCH_DIR_N] =
{
    ngx_http_batch_room_sync, ngx_http_batch_room_sync,
    ngx_http_batch_room_sync, ngx_http_batch_room_sync,
    ngx_http_batch_room_sync, ngx_http_batch_room_sync
};

/*
 * Shards whose entry in their room this process knows to be durable.  A shard
 * that another process has just made may not be synced yet, so the first use
 * syncs the room once.  Threads only ever turn 0 into 1.
 */
static u_char  ngx_http_batch_shards[NGX_HTTP_BATCH_DIR_N][128][128];


void
ngx_http_batch_disk_error(ngx_log_t *log, const char *call, const char *name)
{
    ngx_err_t   err;
    ngx_uint_t  level;

    err = ngx_errno;

    /* a link is not of our making, and is not followed */

    level = (err == ELOOP) ? NGX_LOG_ALERT : NGX_LOG_CRIT;

    ngx_log_error(level, log, err,
                  "batch store: %s \"%s\" failed", call, name);

    ngx_set_errno(err);
}


ngx_uint_t
ngx_http_batch_store_damaged(void)
{
    ngx_err_t  err;

    err = ngx_errno;

    return err == ELOOP || err == NGX_ENOTDIR || err == EFBIG
           || err == EBADMSG;
}


ngx_fd_t
ngx_http_batch_disk_openat(ngx_fd_t dir, const char *name, int flags)
{
    ngx_fd_t  fd;

    do {
        fd = openat(dir, name, flags|O_NOFOLLOW|O_CLOEXEC, 0600);

    } while (fd == NGX_INVALID_FILE && ngx_errno == NGX_EINTR);

    return fd;
}


ngx_fd_t
ngx_http_batch_disk_open(ngx_fd_t dir, const char *name, ngx_log_t *log)
{
    ngx_fd_t     fd;
    ngx_err_t    err;
    struct stat  st;

    fd = ngx_http_batch_disk_openat(dir, name, O_RDONLY|O_NONBLOCK);

    if (fd == NGX_INVALID_FILE) {

        if (ngx_errno != NGX_ENOENT) {
            ngx_http_batch_disk_error(log, "openat()", name);
        }

        return NGX_INVALID_FILE;
    }

    if (fstat(fd, &st) == -1) {
        err = ngx_errno;
        ngx_http_batch_disk_error(log, "fstat()", name);

    } else if (!S_ISREG(st.st_mode)) {
        err = EBADMSG;
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "batch store: \"%s\" is no regular file", name);

    } else {
        return fd;
    }

    (void) ngx_close_file(fd);
    ngx_set_errno(err);

    return NGX_INVALID_FILE;
}


int
ngx_http_batch_disk_sync_dir(ngx_fd_t dir)
{
    return fsync(dir);
}


/*
 * The same for a room, in which many threads make shards at once: whoever comes
 * while a sync runs shares the next one with all who do.  Those who shared one
 * that failed have failed, too.
 */

static int
ngx_http_batch_disk_sync_room(ngx_fd_t dir)
{
    int                          rc;
    uint64_t                     mine;
    ngx_err_t                    err;
    ngx_uint_t                   i;
    ngx_http_batch_room_sync_t  *s;

    for (i = 0; i < NGX_HTTP_BATCH_DIR_N - 1; i++) {
        if (ngx_http_batch_dirs[i] == dir) {
            break;
        }
    }

    s = &ngx_http_batch_room_syncs[i];

    (void) pthread_mutex_lock(&s->mutex);

    mine = s->begun + 1;

    while (s->ended < mine) {

        if (s->ended < s->begun) {
            (void) pthread_cond_wait(&s->cond, &s->mutex);
            continue;
        }

        s->begun++;

        (void) pthread_mutex_unlock(&s->mutex);

        rc = ngx_http_batch_disk_sync_dir(dir);
        err = ngx_errno;

        (void) pthread_mutex_lock(&s->mutex);

        s->ended++;

        if (rc == -1) {
            s->failed = s->ended;
            s->err = err;
        }

        (void) pthread_cond_broadcast(&s->cond);
    }

    /* a later one may have failed meanwhile: then nobody knows */

    rc = 0;

    if (s->failed >= mine) {
        ngx_set_errno(s->err);
        rc = -1;
    }

    (void) pthread_mutex_unlock(&s->mutex);

    return rc;
}


ngx_int_t
ngx_http_batch_layout_open(ngx_str_t *path, ngx_log_t *log)
{
    ngx_fd_t     root;
    ngx_uint_t   i;
    struct stat  st;

    ngx_http_batch_layout_close();

    root = ngx_http_batch_disk_openat(AT_FDCWD, (char *) path->data,
                                      O_RDONLY|O_DIRECTORY);
    if (root == NGX_INVALID_FILE) {
        ngx_http_batch_disk_error(log, "open()", (char *) path->data);
        return NGX_ERROR;
    }

    if (fstat(root, &st) == -1) {
        ngx_http_batch_disk_error(log, "fstat()", (char *) path->data);
        goto failed;
    }

    if (st.st_uid != geteuid()) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "batch store \"%V\" belongs to user %d, "
                      "but this process runs as user %d",
                      path, (int) st.st_uid, (int) geteuid());
        goto failed;
    }

    for (i = 0; i < NGX_HTTP_BATCH_DIR_N; i++) {
        ngx_http_batch_dirs[i] =
            ngx_http_batch_disk_openat(root, ngx_http_batch_dir_names[i],
                                       O_RDONLY|O_DIRECTORY);

        if (ngx_http_batch_dirs[i] == NGX_INVALID_FILE) {
            ngx_http_batch_disk_error(log, "openat()",
                                      ngx_http_batch_dir_names[i]);
            goto failed;
        }
    }

    (void) ngx_close_file(root);

    return NGX_OK;

failed:

    (void) ngx_close_file(root);
    ngx_http_batch_layout_close();

    return NGX_ERROR;
}


void
ngx_http_batch_layout_close(void)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_BATCH_DIR_N; i++) {
        if (ngx_http_batch_dirs[i] != NGX_INVALID_FILE) {
            (void) ngx_close_file(ngx_http_batch_dirs[i]);
            ngx_http_batch_dirs[i] = NGX_INVALID_FILE;
        }
    }

    ngx_memzero(ngx_http_batch_shards, sizeof(ngx_http_batch_shards));
}


/* the room of the object; NGX_ERROR if the id may not become a path */

static ngx_int_t
ngx_http_batch_disk_room(ngx_http_batch_obj_e obj, const char *id,
    ngx_log_t *log)
{
    size_t           len;
    ngx_int_t        room;
    batch_id_kind_e  kind;

    if (obj == NGX_HTTP_BATCH_BLOB
        || obj == NGX_HTTP_BATCH_FILE
        || obj == NGX_HTTP_BATCH_FILE_DEL)
    {
        room = NGX_HTTP_BATCH_DIR_FILES;
        kind = BATCH_ID_FILE;

    } else if (obj == NGX_HTTP_BATCH_UPLOAD
               || obj == NGX_HTTP_BATCH_UPLOAD_END)
    {
        room = NGX_HTTP_BATCH_DIR_UPLOADS;
        kind = BATCH_ID_UPLOAD;

    } else {
        room = NGX_HTTP_BATCH_DIR_BATCHES;
        kind = BATCH_ID_BATCH;
    }

    len = ngx_strlen(id);

    if (len >= BATCH_ID_LEN
        || !batch_id_check(kind, (const u_char *) id, len))
    {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "batch store: unchecked id of %uz bytes", len);
        ngx_set_errno(EINVAL);
        return NGX_ERROR;
    }

    return room;
}


/* opens dir/name; with make it is made and its entry in dir made durable */

static ngx_fd_t
ngx_http_batch_disk_subdir(ngx_fd_t dir, const char *name, ngx_uint_t make,
    u_char *known, ngx_log_t *log)
{
    int         rc;
    ngx_fd_t    fd;
    ngx_uint_t  made;

    made = 0;

    if (make && (known == NULL || *known == 0)) {

        if (mkdirat(dir, name, 0700) == 0) {
            made = 1;

        } else if (ngx_errno != NGX_EEXIST) {
            ngx_http_batch_disk_error(log, "mkdirat()", name);
            return NGX_INVALID_FILE;
        }

        if (known) {
            rc = ngx_http_batch_disk_sync_room(dir);

        } else {
            rc = made ? ngx_http_batch_disk_sync_dir(dir) : 0;
        }

        if (rc == -1) {
            ngx_http_batch_disk_error(log, "fsync() of the directory of",
                                      name);
            return NGX_INVALID_FILE;
        }

        if (known) {
            *known = 1;
        }
    }

    fd = ngx_http_batch_disk_openat(dir, name, O_RDONLY|O_DIRECTORY);

    if (fd == NGX_INVALID_FILE && (make || ngx_errno != NGX_ENOENT)) {

        if (known) {
            *known = 0;
        }

        ngx_http_batch_disk_error(log, "openat()", name);
    }

    return fd;
}


ngx_fd_t
ngx_http_batch_disk_dir(ngx_http_batch_obj_e obj, const char *id,
    ngx_uint_t make, ngx_log_t *log)
{
    char         shard[3];
    u_char      *known;
    ngx_fd_t     fd, sub;
    ngx_err_t    err;
    ngx_int_t    room;
    const char  *p;

    room = ngx_http_batch_disk_room(obj, id, log);

    if (room == NGX_ERROR) {
        return NGX_INVALID_FILE;
    }

    if (ngx_http_batch_dirs[room] == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_ALERT, log, 0, "batch store is not open");
        ngx_set_errno(EBADF);
        return NGX_INVALID_FILE;
    }

    p = strpbrk(id, "-_") + 1;

    shard[0] = p[0];
    shard[1] = p[1];
    shard[2] = '\0';

    known = &ngx_http_batch_shards[room][p[0] & 0x7f][p[1] & 0x7f];

    fd = ngx_http_batch_disk_subdir(ngx_http_batch_dirs[room], shard, make,
                                    known, log);

    if (fd == NGX_INVALID_FILE || room == NGX_HTTP_BATCH_DIR_FILES) {
        return fd;
    }

    sub = ngx_http_batch_disk_subdir(fd, id, make, NULL, log);

    err = ngx_errno;
    (void) ngx_close_file(fd);
    ngx_set_errno(err);

    return sub;
}


void
ngx_http_batch_disk_name(ngx_http_batch_obj_e obj, const char *id,
    char name[NGX_HTTP_BATCH_NAME_LEN])
{
    u_char  *p, *last;

    p = (u_char *) name;
    last = p + NGX_HTTP_BATCH_NAME_LEN;

    switch (obj) {

    case NGX_HTTP_BATCH_BLOB:
        (void) ngx_slprintf(p, last, "%s%Z", id);
        break;

    case NGX_HTTP_BATCH_FILE:
        (void) ngx_slprintf(p, last, "%s.json%Z", id);
        break;

    case NGX_HTTP_BATCH_FILE_DEL:
        (void) ngx_slprintf(p, last, "%s.del%Z", id);
        break;

    case NGX_HTTP_BATCH_META:
        (void) ngx_slprintf(p, last, "batch.json%Z");
        break;

    case NGX_HTTP_BATCH_INPUT:
        (void) ngx_slprintf(p, last, "input%Z");
        break;

    case NGX_HTTP_BATCH_PLAN:
        (void) ngx_slprintf(p, last, "plan.json%Z");
        break;

    case NGX_HTTP_BATCH_CANCEL:
        (void) ngx_slprintf(p, last, "cancel.json%Z");
        break;

    case NGX_HTTP_BATCH_HOOK:
        (void) ngx_slprintf(p, last, "hook.json%Z");
        break;

    case NGX_HTTP_BATCH_UPLOAD:
        (void) ngx_slprintf(p, last, "upload.json%Z");
        break;

    case NGX_HTTP_BATCH_UPLOAD_END:
        (void) ngx_slprintf(p, last, "end.json%Z");
        break;

    default: /* NGX_HTTP_BATCH_FINAL */
        (void) ngx_slprintf(p, last, "final.json%Z");
    }
}


ngx_fd_t
ngx_http_batch_store_tmp(char name[NGX_HTTP_BATCH_TMP_LEN], ngx_log_t *log)
{
    ngx_fd_t  fd;

    if (batch_id_random_hex(name, (NGX_HTTP_BATCH_TMP_LEN - 1) / 2)
        != BATCH_OK)
    {
        ngx_http_batch_disk_error(log, "getrandom() for", "tmp");
        name[0] = '\0';
        return NGX_INVALID_FILE;
    }

    name[NGX_HTTP_BATCH_TMP_LEN - 1] = '\0';

    fd = ngx_http_batch_disk_openat(
                                ngx_http_batch_dirs[NGX_HTTP_BATCH_DIR_TMP],
                                name, O_RDWR|O_CREAT|O_EXCL);

    if (fd == NGX_INVALID_FILE) {
        ngx_http_batch_disk_error(log, "openat() in tmp", name);
        name[0] = '\0';
        return fd;
    }

    /*
     * Says that its owner lives, until the descriptor is closed, whatever the
     * clocks say.  A filesystem without locks has only the time.
     */

    (void) flock(fd, LOCK_SH|LOCK_NB);

    return fd;
}


void
ngx_http_batch_store_tmp_delete(const char *name, ngx_log_t *log)
{
    ngx_err_t  err;

    if (name[0] == '\0') {
        return;
    }

    /* called on error paths: the error that led here is the caller's */

    err = ngx_errno;

    (void) ngx_http_batch_disk_unlink(
                                 ngx_http_batch_dirs[NGX_HTTP_BATCH_DIR_TMP],
                                 name, log);

    ngx_set_errno(err);
}


ngx_int_t
ngx_http_batch_store_write(ngx_fd_t fd, const void *data, size_t len,
    off_t off, ngx_log_t *log)
{
    ssize_t        n;
    const u_char  *p;

    p = data;

    while (len) {
        n = pwrite(fd, p, len, off);

        if (n == -1) {
            if (ngx_errno == NGX_EINTR) {
                continue;
            }

            ngx_log_error(NGX_LOG_CRIT, log, ngx_errno,
                          "batch store: pwrite() of %uz bytes at %O failed",
                          len, off);
            return NGX_ERROR;
        }

        if (n == 0) {
            ngx_set_errno(NGX_ENOSPC);
            ngx_log_error(NGX_LOG_CRIT, log, 0,
                          "batch store: pwrite() at %O wrote nothing", off);
            ngx_set_errno(NGX_ENOSPC);
            return NGX_ERROR;
        }

        p += n;
        len -= n;
        off += n;
    }

    return NGX_OK;
}


void
ngx_http_batch_store_sweep_tmp(time_t age, ngx_log_t *log)
{
    ngx_http_batch_disk_sweep(NGX_HTTP_BATCH_DIR_TMP, age, log);
}


/* somebody has it open who has locked it, see ngx_http_batch_store_tmp() */

static ngx_uint_t
ngx_http_batch_disk_lives(ngx_fd_t dir, const char *name)
{
    ngx_fd_t    fd;
    ngx_uint_t  lives;

    fd = ngx_http_batch_disk_openat(dir, name, O_RDWR);

    if (fd == NGX_INVALID_FILE) {
        return 0;
    }

    lives = flock(fd, LOCK_EX|LOCK_NB) == -1 && ngx_errno == EWOULDBLOCK;

    (void) ngx_close_file(fd);

    return lives;
}


void
ngx_http_batch_disk_sweep(ngx_uint_t room, time_t age, ngx_log_t *log)
{
    DIR            *d;
    time_t          now;
    ngx_fd_t        fd;
    struct stat     st;
    struct dirent  *de;

    fd = ngx_http_batch_disk_openat(ngx_http_batch_dirs[room], ".",
                                    O_RDONLY|O_DIRECTORY);

    d = (fd == NGX_INVALID_FILE) ? NULL : fdopendir(fd);

    if (d == NULL) {
        ngx_http_batch_disk_error(log, "opening of",
                                  ngx_http_batch_dir_names[room]);

        if (fd != NGX_INVALID_FILE) {
            (void) ngx_close_file(fd);
        }

        return;
    }

    now = time(NULL);

    while ((de = readdir(d)) != NULL) {

        if (de->d_name[0] == '.'
            || fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) == -1
            || S_ISDIR(st.st_mode)
            || st.st_mtime > now - age
            || (S_ISREG(st.st_mode)
                && ngx_http_batch_disk_lives(fd, de->d_name)))
        {
            continue;
        }

        if (ngx_http_batch_disk_unlink(fd, de->d_name, log) != NGX_OK) {
            break;
        }
    }

    (void) closedir(d);
}
