
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The disk at configuration time: makes or checks the store's directory.
 * Runs as the user that starts nginx, also under "nginx -t".
 */


#include "ngx_http_batch_disk.h"

#include <pwd.h>


typedef struct {
    ngx_conf_t  *cf;
    ngx_str_t   *path;
    ngx_uid_t    uid;       /* who must own everything */
} ngx_http_batch_prepare_t;


static ngx_int_t ngx_http_batch_prepare_dir(ngx_http_batch_prepare_t *pr,
    ngx_fd_t parent, const char *name, ngx_fd_t *out);
static ngx_int_t ngx_http_batch_prepare_rooms(ngx_http_batch_prepare_t *pr,
    ngx_fd_t root);
static ngx_int_t ngx_http_batch_prepare_owner(ngx_http_batch_prepare_t *pr,
    ngx_fd_t fd, const char *name, ngx_uint_t made);
static ngx_int_t ngx_http_batch_prepare_empty(ngx_fd_t fd);
static void ngx_http_batch_prepare_sync_parent(ngx_str_t *path);


ngx_int_t
ngx_http_batch_prepare_store(ngx_conf_t *cf, ngx_str_t *path, ngx_uid_t uid)
{
    ngx_fd_t                   root;
    ngx_int_t                  rc;
    struct passwd             *pw;
    ngx_http_batch_prepare_t   pr;

    pr.cf = cf;
    pr.path = path;
    pr.uid = uid;

    if (geteuid() != 0) {

        /* the workers cannot be anybody else */
        pr.uid = geteuid();

    } else if (uid == (ngx_uid_t) NGX_CONF_UNSET_UINT) {

        /* no "user" directive seen: nginx's own default */

        pw = getpwnam(NGX_USER);

        if (pw == NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                               "\"batch_store\": there is no user \""
                               NGX_USER "\", name the workers' user "
                               "with the \"user\" directive");
            return NGX_ERROR;
        }

        pr.uid = pw->pw_uid;
    }

    if (ngx_http_batch_prepare_dir(&pr, AT_FDCWD, (char *) path->data, &root)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_batch_prepare_rooms(&pr, root);

    (void) ngx_close_file(root);

    if (rc == NGX_OK) {
        ngx_http_batch_prepare_sync_parent(path);
    }

    return rc;
}


static ngx_int_t
ngx_http_batch_prepare_rooms(ngx_http_batch_prepare_t *pr, ngx_fd_t root)
{
    ngx_fd_t    fd, tmp;
    ngx_int_t   rc, version;
    ngx_uint_t  i;

    /* first of all: what is not ours to read is not ours to change */

    version = ngx_http_batch_version_check(pr->cf, pr->path, root);

    if (version == NGX_ERROR) {
        return NGX_ERROR;
    }

    tmp = NGX_INVALID_FILE;
    rc = NGX_OK;

    for (i = 0; i < NGX_HTTP_BATCH_DIR_N; i++) {

        rc = ngx_http_batch_prepare_dir(pr, root,
                                        ngx_http_batch_layout_names[i], &fd);
        if (rc != NGX_OK) {
            break;
        }

        if (i == NGX_HTTP_BATCH_DIR_TMP) {
            tmp = fd;

        } else {
            (void) ngx_close_file(fd);
        }
    }

    if (rc == NGX_OK && version == NGX_DECLINED) {
        rc = ngx_http_batch_version_write(pr->cf, pr->path, root, tmp,
                                          pr->uid);
    }

    ngx_http_batch_disk_close(tmp);

    if (rc == NGX_OK && fsync(root) == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, pr->cf, ngx_errno,
                           "\"batch_store\" \"%V\": fsync() failed",
                           pr->path);
        rc = NGX_ERROR;
    }

    return rc;
}


static ngx_int_t
ngx_http_batch_prepare_dir(ngx_http_batch_prepare_t *pr, ngx_fd_t parent,
    const char *name, ngx_fd_t *out)
{
    ngx_fd_t    fd;
    ngx_err_t   err;
    ngx_uint_t  made;

    made = 0;

    if (mkdirat(parent, name, 0700) == 0) {
        made = 1;

    } else if (ngx_errno != NGX_EEXIST) {

        err = ngx_errno;

        ngx_conf_log_error(NGX_LOG_EMERG, pr->cf, err,
                           "\"batch_store\": cannot make directory \"%s\"%s",
                           name, err == NGX_ENOENT
                                 ? ", make the directory above it" : "");
        return NGX_ERROR;
    }

    fd = ngx_http_batch_disk_openat(parent, name, O_RDONLY|O_DIRECTORY);

    if (fd == NGX_INVALID_FILE) {

        err = ngx_errno;

        if (err == ELOOP || err == NGX_ENOTDIR) {
            ngx_conf_log_error(NGX_LOG_EMERG, pr->cf, 0,
                               "\"batch_store\": \"%s\" in \"%V\" is a "
                               "symbolic link or not a directory, name the "
                               "directory itself", name, pr->path);
            return NGX_ERROR;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, pr->cf, err,
                           "\"batch_store\": cannot open directory \"%s\"",
                           name);
        return NGX_ERROR;
    }

    if (ngx_http_batch_prepare_owner(pr, fd, name, made) != NGX_OK) {
        (void) ngx_close_file(fd);
        return NGX_ERROR;
    }

    *out = fd;

    return NGX_OK;
}


/*
 * A directory of root's is handed to the workers only if we have just made it
 * or it is empty: with a path written wrong, it could be anything.
 */

static ngx_int_t
ngx_http_batch_prepare_owner(ngx_http_batch_prepare_t *pr, ngx_fd_t fd,
    const char *name, ngx_uint_t made)
{
    struct stat  st;

    if (fstat(fd, &st) == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, pr->cf, ngx_errno,
                           "\"batch_store\": fstat() \"%s\" failed", name);
        return NGX_ERROR;
    }

    if (st.st_uid != pr->uid) {

        if (geteuid() != 0 || st.st_uid != 0
            || (!made && ngx_http_batch_prepare_empty(fd) != NGX_OK))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, pr->cf, 0,
                               "\"batch_store\": directory \"%s\" belongs to "
                               "user %d, not to the workers' user %d, run "
                               "\"chown -R %d %V\" or name another directory",
                               name, (int) st.st_uid, (int) pr->uid,
                               (int) pr->uid, pr->path);
            return NGX_ERROR;
        }

        if (fchown(fd, pr->uid, (gid_t) -1) == -1) {
            ngx_conf_log_error(NGX_LOG_EMERG, pr->cf, ngx_errno,
                               "\"batch_store\": fchown() \"%s\" to user %d "
                               "failed", name, (int) pr->uid);
            return NGX_ERROR;
        }
    }

    if (st.st_mode & (S_IWGRP|S_IWOTH)) {
        ngx_conf_log_error(NGX_LOG_EMERG, pr->cf, 0,
                           "\"batch_store\": directory \"%s\" can be written "
                           "by its group or by others, run "
                           "\"chmod -R go-rwx %V\"", name, pr->path);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_prepare_empty(ngx_fd_t fd)
{
    DIR            *d;
    ngx_int_t       rc;
    struct dirent  *de;

    /* not disk_readdir(): hidden files count, too */

    d = ngx_http_batch_disk_opendir(fd, "store", ".", NULL);

    if (d == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    while ((de = readdir(d)) != NULL) {
        if (ngx_strcmp(de->d_name, ".") != 0
            && ngx_strcmp(de->d_name, "..") != 0)
        {
            rc = NGX_DECLINED;
            break;
        }
    }

    (void) closedir(d);

    return rc;
}


/* the entry of the store itself; a parent that we may not read is not ours */

static void
ngx_http_batch_prepare_sync_parent(ngx_str_t *path)
{
    u_char    *p;
    size_t     len;
    ngx_fd_t   fd;
    u_char     dir[NGX_MAX_PATH];

    len = path->len;

    while (len > 1 && path->data[len - 1] != '/') {
        len--;
    }

    if (len == 0 || path->data[len - 1] != '/' || len >= NGX_MAX_PATH) {
        return;
    }

    p = ngx_cpymem(dir, path->data, len);
    *p = '\0';

    fd = open((char *) dir, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (fd != NGX_INVALID_FILE) {
        (void) fsync(fd);
        (void) ngx_close_file(fd);
    }
}
