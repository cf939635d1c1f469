
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The layout of the store: its rooms, which are kept open, their shards, the
 * directories of objects, and names in them.
 */


#include "ngx_http_batch_disk.h"

#include <sys/file.h>


/* begun and ended count the syncs of a room; one runs at a time */

typedef struct {
    pthread_mutex_t   mutex;
    pthread_cond_t    cond;
    uint64_t          begun;
    uint64_t          ended;
    uint64_t          failed;      /* the last that did */
    ngx_err_t         err;
} ngx_http_batch_layout_sync_t;


static ngx_int_t ngx_http_batch_layout_sync(ngx_uint_t room);
static ngx_int_t ngx_http_batch_layout_room(ngx_http_batch_obj_e obj,
    const char *id, ngx_log_t *log);
static ngx_fd_t ngx_http_batch_layout_shard(ngx_uint_t room, const char *id,
    ngx_uint_t make, ngx_log_t *log);
static ngx_fd_t ngx_http_batch_layout_subdir(ngx_fd_t dir, const char *id,
    ngx_uint_t make, ngx_log_t *log);
static ngx_uint_t ngx_http_batch_layout_in_use(ngx_fd_t dir,
    const char *name);


const char  *ngx_http_batch_layout_names[NGX_HTTP_BATCH_DIR_N] = {
    "tmp", "files", "batches", "uploads", "keys", "workers"
};

const ngx_uint_t  ngx_http_batch_layout_rooms[] = {
    [BATCH_ID_FILE] = NGX_HTTP_BATCH_DIR_FILES,
    [BATCH_ID_BATCH] = NGX_HTTP_BATCH_DIR_BATCHES,
    [BATCH_ID_UPLOAD] = NGX_HTTP_BATCH_DIR_UPLOADS
};

ngx_fd_t  ngx_http_batch_layout_dirs[NGX_HTTP_BATCH_DIR_N] = {
    NGX_INVALID_FILE, NGX_INVALID_FILE, NGX_INVALID_FILE, NGX_INVALID_FILE,
    NGX_INVALID_FILE, NGX_INVALID_FILE
};

#define ngx_http_batch_layout_sync_init                                       \
    { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, 0 }

static ngx_http_batch_layout_sync_t
    ngx_http_batch_layout_syncs[NGX_HTTP_BATCH_DIR_N] =
{
    ngx_http_batch_layout_sync_init, ngx_http_batch_layout_sync_init,
    ngx_http_batch_layout_sync_init, ngx_http_batch_layout_sync_init,
    ngx_http_batch_layout_sync_init, ngx_http_batch_layout_sync_init
};

/*
 * Shards whose entry in their room this process knows to be durable.  A shard
 * that another process has just made may not be synced yet, so the first use
 * syncs the room once.  Threads only ever turn 0 into 1.
 */
static u_char  ngx_http_batch_layout_shards[NGX_HTTP_BATCH_DIR_N][128][128];


/* what the file is of an object of the kind */

static const struct {
    const char       *name;       /* %s: the object's id */
    batch_id_kind_e   kind;       /* of that id */
    ngx_uint_t        json;
    ngx_uint_t        named;      /* the checksum covers its name */
} ngx_http_batch_layout_files[] = {
    /* NGX_HTTP_BATCH_BLOB       */ { "%s",          BATCH_ID_FILE,   0, 0 },
    /* NGX_HTTP_BATCH_FILE       */ { "%s.json",     BATCH_ID_FILE,   1, 0 },
    /* NGX_HTTP_BATCH_FILE_DEL   */ { "%s.del",      BATCH_ID_FILE,   1, 0 },
    /* NGX_HTTP_BATCH_META       */ { "batch.json",  BATCH_ID_BATCH,  1, 1 },
    /* NGX_HTTP_BATCH_INPUT      */ { "input",       BATCH_ID_BATCH,  0, 0 },
    /* NGX_HTTP_BATCH_PLAN       */ { "plan.json",   BATCH_ID_BATCH,  1, 1 },

    /* one file may be final.json, cancel.json and manifests of results */

    /* NGX_HTTP_BATCH_CANCEL     */ { "cancel.json", BATCH_ID_BATCH,  1, 0 },
    /* NGX_HTTP_BATCH_FINAL      */ { "final.json",  BATCH_ID_BATCH,  1, 0 },
    /* NGX_HTTP_BATCH_HOOK       */ { "hook.json",   BATCH_ID_BATCH,  1, 0 },
    /* NGX_HTTP_BATCH_DELETED    */ { "deleted.json", BATCH_ID_BATCH, 1, 1 },
    /* NGX_HTTP_BATCH_UPLOAD     */ { "upload.json", BATCH_ID_UPLOAD, 1, 1 },
    /* NGX_HTTP_BATCH_UPLOAD_END */ { "end.json",    BATCH_ID_UPLOAD, 1, 1 }
};


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
        ngx_http_batch_disk_error(log, "store", "open()",
                                  (char *) path->data);
        return NGX_ERROR;
    }

    if (fstat(root, &st) == -1) {
        ngx_http_batch_disk_error(log, "store", "fstat()",
                                  (char *) path->data);
        goto failed;
    }

    if (st.st_uid != geteuid()) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "batch: store \"%V\" belongs to user %d, "
                      "but this process runs as user %d",
                      path, (int) st.st_uid, (int) geteuid());
        goto failed;
    }

    for (i = 0; i < NGX_HTTP_BATCH_DIR_N; i++) {
        ngx_http_batch_layout_dirs[i] =
            ngx_http_batch_disk_openat(root, ngx_http_batch_layout_names[i],
                                       O_RDONLY|O_DIRECTORY);

        if (ngx_http_batch_layout_dirs[i] == NGX_INVALID_FILE) {
            ngx_http_batch_disk_error(log, "store", "openat()",
                                      ngx_http_batch_layout_names[i]);
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
        ngx_http_batch_disk_close(ngx_http_batch_layout_dirs[i]);
        ngx_http_batch_layout_dirs[i] = NGX_INVALID_FILE;
    }

    ngx_memzero(ngx_http_batch_layout_shards,
                sizeof(ngx_http_batch_layout_shards));
}


/*
 * fsync() of a room, in which many threads make shards at once: one that comes
 * while a sync runs shares the next one with all others who do.  Those who
 * shared one that failed have failed, too.
 */

static ngx_int_t
ngx_http_batch_layout_sync(ngx_uint_t room)
{
    int                            rc;
    uint64_t                       mine;
    ngx_err_t                      err;
    ngx_http_batch_layout_sync_t  *s;

    s = &ngx_http_batch_layout_syncs[room];

    (void) pthread_mutex_lock(&s->mutex);

    mine = s->begun + 1;

    while (s->ended < mine) {

        if (s->ended < s->begun) {
            (void) pthread_cond_wait(&s->cond, &s->mutex);
            continue;
        }

        s->begun++;

        (void) pthread_mutex_unlock(&s->mutex);

        rc = fsync(ngx_http_batch_layout_dirs[room]);
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

    rc = NGX_OK;

    if (s->failed >= mine) {
        ngx_set_errno(s->err);
        rc = NGX_ERROR;
    }

    (void) pthread_mutex_unlock(&s->mutex);

    return rc;
}


/* the room of the object; NGX_ERROR if the id may not become a path */

static ngx_int_t
ngx_http_batch_layout_room(ngx_http_batch_obj_e obj, const char *id,
    ngx_log_t *log)
{
    size_t           len;
    batch_id_kind_e  kind;

    kind = ngx_http_batch_layout_files[obj].kind;
    len = ngx_strlen(id);

    if (len >= BATCH_ID_LEN
        || !batch_id_check(kind, (const u_char *) id, len))
    {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "batch: unchecked id of %uz bytes", len);
        ngx_set_errno(EINVAL);
        return NGX_ERROR;
    }

    return ngx_http_batch_layout_rooms[kind];
}


/* opens the id's shard; with make it is made and its entry made durable */

static ngx_fd_t
ngx_http_batch_layout_shard(ngx_uint_t room, const char *id, ngx_uint_t make,
    ngx_log_t *log)
{
    char         shard[3];
    u_char      *known;
    ngx_fd_t     dir, fd;
    const char  *p;

    dir = ngx_http_batch_layout_dirs[room];
    p = strpbrk(id, "-_") + 1;

    shard[0] = p[0];
    shard[1] = p[1];
    shard[2] = '\0';

    known = &ngx_http_batch_layout_shards[room][p[0] & 0x7f][p[1] & 0x7f];

    if (make && !*known) {

        if (mkdirat(dir, shard, 0700) == -1 && ngx_errno != NGX_EEXIST) {
            ngx_http_batch_disk_error(log, id, "mkdirat()", shard);
            return NGX_INVALID_FILE;
        }

        if (ngx_http_batch_layout_sync(room) != NGX_OK) {
            ngx_http_batch_disk_error(log, id, "fsync() of the directory of",
                                      shard);
            return NGX_INVALID_FILE;
        }

        *known = 1;
    }

    fd = ngx_http_batch_disk_openat(dir, shard, O_RDONLY|O_DIRECTORY);

    if (fd == NGX_INVALID_FILE && (make || ngx_errno != NGX_ENOENT)) {
        *known = 0;
        ngx_http_batch_disk_error(log, id, "openat()", shard);
    }

    return fd;
}


/* the same with the id's own directory in the shard */

static ngx_fd_t
ngx_http_batch_layout_subdir(ngx_fd_t dir, const char *id, ngx_uint_t make,
    ngx_log_t *log)
{
    ngx_fd_t  fd;

    if (make) {

        if (mkdirat(dir, id, 0700) == 0) {

            if (ngx_http_batch_disk_sync_dir(dir, id, id, log) != NGX_OK) {
                return NGX_INVALID_FILE;
            }

        } else if (ngx_errno != NGX_EEXIST) {
            ngx_http_batch_disk_error(log, id, "mkdirat()", id);
            return NGX_INVALID_FILE;
        }
    }

    fd = ngx_http_batch_disk_openat(dir, id, O_RDONLY|O_DIRECTORY);

    if (fd == NGX_INVALID_FILE && (make || ngx_errno != NGX_ENOENT)) {
        ngx_http_batch_disk_error(log, id, "openat()", id);
    }

    return fd;
}


ngx_fd_t
ngx_http_batch_layout_dir(ngx_http_batch_obj_e obj, const char *id,
    ngx_uint_t make, ngx_log_t *log)
{
    ngx_fd_t   fd, sub;
    ngx_int_t  room;

    room = ngx_http_batch_layout_room(obj, id, log);

    if (room == NGX_ERROR) {
        return NGX_INVALID_FILE;
    }

    if (ngx_http_batch_layout_dirs[room] == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "batch: %s: the store is not open", id);
        ngx_set_errno(EBADF);
        return NGX_INVALID_FILE;
    }

    fd = ngx_http_batch_layout_shard(room, id, make, log);

    if (fd == NGX_INVALID_FILE || room == NGX_HTTP_BATCH_DIR_FILES) {
        return fd;
    }

    sub = ngx_http_batch_layout_subdir(fd, id, make, log);

    ngx_http_batch_disk_close(fd);

    return sub;
}


ngx_fd_t
ngx_http_batch_layout_must(ngx_http_batch_obj_e obj, const char *id,
    ngx_log_t *log)
{
    ngx_fd_t  dir;

    dir = ngx_http_batch_layout_dir(obj, id, 0, log);

    if (dir == NGX_INVALID_FILE && ngx_errno == NGX_ENOENT) {
        ngx_http_batch_disk_error(log, id, "opening the directory of", id);
    }

    return dir;
}


void
ngx_http_batch_layout_name(ngx_http_batch_obj_e obj, const char *id,
    char name[NGX_HTTP_BATCH_NAME_LEN])
{
    u_char  *p;

    p = ngx_slprintf((u_char *) name,
                     (u_char *) name + NGX_HTTP_BATCH_NAME_LEN - 1,
                     ngx_http_batch_layout_files[obj].name, id);
    *p = '\0';
}


ngx_uint_t
ngx_http_batch_layout_json(ngx_http_batch_obj_e obj)
{
    return ngx_http_batch_layout_files[obj].json;
}


ngx_uint_t
ngx_http_batch_layout_named(ngx_http_batch_obj_e obj)
{
    return ngx_http_batch_layout_files[obj].named;
}


/* a process that has it open has locked it, see ngx_http_batch_store_tmp() */

static ngx_uint_t
ngx_http_batch_layout_in_use(ngx_fd_t dir, const char *name)
{
    ngx_fd_t    fd;
    ngx_uint_t  in_use;

    fd = ngx_http_batch_disk_openat(dir, name, O_RDWR);

    if (fd == NGX_INVALID_FILE) {
        return 0;
    }

    in_use = flock(fd, LOCK_EX|LOCK_NB) == -1 && ngx_errno == EWOULDBLOCK;

    (void) ngx_close_file(fd);

    return in_use;
}


ngx_int_t
ngx_http_batch_layout_sweep(ngx_http_batch_sweep_dir_t *s, ngx_uint_t room,
    time_t age, ngx_uint_t n, ngx_log_t *log)
{
    time_t        now;
    ngx_fd_t      dir;
    const char   *name, *id;
    struct stat   st;

    id = ngx_http_batch_layout_names[room];

    if (s->dir == NULL) {
        s->next = 0;
        s->dir = ngx_http_batch_disk_opendir(ngx_http_batch_layout_dirs[room],
                                             id, ".", log);
        if (s->dir == NULL) {
            return NGX_ERROR;
        }
    }

    dir = dirfd(s->dir);
    now = time(NULL);

    for ( /* void */ ; n; n--) {
        name = ngx_http_batch_disk_readdir(s->dir, id, log);

        if (name == NULL) {
            ngx_http_batch_layout_sweep_end(s);
            return NGX_OK;
        }

        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1
            || S_ISDIR(st.st_mode))
        {
            continue;
        }

        if (st.st_mtime > now - age) {

            if (s->next == 0 || st.st_mtime + age < s->next) {
                s->next = st.st_mtime + age;
            }

            continue;
        }

        if (S_ISREG(st.st_mode) && ngx_http_batch_layout_in_use(dir, name)) {
            continue;
        }

        if (ngx_http_batch_disk_unlink(dir, id, name, log) != NGX_OK) {
            ngx_http_batch_layout_sweep_end(s);
            return NGX_ERROR;
        }

        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: %s: swept \"%s\"", id, name);
    }

    return NGX_AGAIN;
}


void
ngx_http_batch_layout_sweep_end(ngx_http_batch_sweep_dir_t *s)
{
    if (s->dir) {
        (void) closedir(s->dir);
        s->dir = NULL;
    }
}
