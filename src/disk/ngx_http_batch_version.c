
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * <store>/version says which format the store has, so that a module that does
 * not know that format does not touch it:
 *
 *   {"v":1,"format":1}
 *
 * The master writes it when it prepares a store that has none, and reads it at
 * every start, reload and "nginx -t".  A store without it is of format 1: it is
 * new, or was made before there was this file.
 */


#include "ngx_http_batch_disk.h"
#include "ngx_http_batch_object.h"


/*
 * The format that this module writes, and the oldest one that it reads.  Who
 * changes what lies in the store in a way that older modules would misread adds
 * one to the first; see docs/internals/disk.md.
 */

#define NGX_HTTP_BATCH_VERSION_FORMAT  1
#define NGX_HTTP_BATCH_VERSION_OLDEST  1

#define NGX_HTTP_BATCH_VERSION_MAX     4096      /* bytes of the file */


static ngx_int_t ngx_http_batch_version_judge(ngx_conf_t *cf, ngx_str_t *path,
    json_int_t format);
static ngx_int_t ngx_http_batch_version_link(ngx_fd_t root, ngx_fd_t tmp,
    const char *name, ngx_uid_t uid, ngx_log_t *log);


ngx_int_t
ngx_http_batch_version_check(ngx_conf_t *cf, ngx_str_t *path, ngx_fd_t root)
{
    json_t      *object, *format;
    ngx_int_t    rc;
    ngx_str_t    text;

    rc = ngx_http_batch_sum_read(root, (char *) path->data, "version", 0,
                                 NGX_HTTP_BATCH_VERSION_MAX, &text, cf->log);

    if (rc == NGX_DECLINED) {
        return NGX_DECLINED;
    }

    if (rc != NGX_OK) {

        if (ngx_http_batch_store_damaged()) {
            goto damaged;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "\"batch_store\" \"%V\": cannot read the file "
                           "\"version\"", path);
        return NGX_ERROR;
    }

    object = ngx_http_batch_object_json(text.data, text.len, 0);
    format = json_object_get(object, "format");

    rc = NGX_DECLINED;

    if (json_is_integer(format) && json_integer_value(format) >= 0) {
        rc = ngx_http_batch_version_judge(cf, path,
                                          json_integer_value(format));
    }

    json_decref(object);
    ngx_free(text.data);

    if (rc != NGX_DECLINED) {
        return rc;
    }

damaged:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"batch_store\" \"%V\": the file \"version\" is "
                       "damaged, so the format of the store is not known: "
                       "restore the file from a backup, or remove it if no "
                       "module with a format newer than 1 has used this store",
                       path);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_batch_version_judge(ngx_conf_t *cf, ngx_str_t *path,
    json_int_t format)
{
    const char  *what;

    if (format > NGX_HTTP_BATCH_VERSION_FORMAT) {
        what = "a newer module has used it: run that one or a newer one, or "
               "name another directory";

    } else if (format < NGX_HTTP_BATCH_VERSION_OLDEST) {
        what = "it is too old: run a module that reads both formats first, or "
               "name another directory";

    } else {
        return NGX_OK;
    }

#if (NGX_HTTP_BATCH_VERSION_OLDEST == NGX_HTTP_BATCH_VERSION_FORMAT)

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"batch_store\": store \"%V\" has format %L, this "
                       "module reads format %d: %s",
                       path, (int64_t) format, NGX_HTTP_BATCH_VERSION_FORMAT,
                       what);
#else

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"batch_store\": store \"%V\" has format %L, this "
                       "module reads formats %d to %d: %s",
                       path, (int64_t) format, NGX_HTTP_BATCH_VERSION_OLDEST,
                       NGX_HTTP_BATCH_VERSION_FORMAT, what);
#endif

    return NGX_ERROR;
}


ngx_int_t
ngx_http_batch_version_write(ngx_conf_t *cf, ngx_str_t *path, ngx_fd_t root,
    ngx_fd_t tmp, ngx_uid_t uid)
{
    char       name[NGX_HTTP_BATCH_TMP_LEN];
    ngx_err_t  err;
    ngx_int_t  rc;

    rc = NGX_ERROR;

    if (batch_id_random_hex(name, (NGX_HTTP_BATCH_TMP_LEN - 1) / 2)
        == BATCH_OK)
    {
        name[NGX_HTTP_BATCH_TMP_LEN - 1] = '\0';

        rc = ngx_http_batch_version_link(root, tmp, name, uid, cf->log);

        err = ngx_errno;
        (void) unlinkat(tmp, name, 0);
        ngx_set_errno(err);
    }

    if (rc == NGX_DECLINED) {

        /* another node was first, maybe one with another module */

        return ngx_http_batch_version_check(cf, path, root);
    }

    /* A full disk or a read-only mount is not a reason not to start: without
     * the file the store is what it was, and the next start tries again. */

    if (rc == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, ngx_errno,
                           "\"batch_store\" \"%V\": cannot write the file "
                           "\"version\"", path);
    }

    return NGX_OK;
}


/* NGX_DECLINED: there is one now */

static ngx_int_t
ngx_http_batch_version_link(ngx_fd_t root, ngx_fd_t tmp, const char *name,
    ngx_uid_t uid, ngx_log_t *log)
{
    u_char     *p;
    ngx_fd_t    fd;
    ngx_int_t   rc;
    u_char      text[sizeof("{\"v\":1,\"format\":}") + 2 * NGX_INT_T_LEN];

    fd = ngx_http_batch_disk_openat(tmp, name, O_RDWR|O_CREAT|O_EXCL);

    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(text, "{\"v\":%d,\"format\":%d}", NGX_HTTP_BATCH_FORMAT,
                    NGX_HTTP_BATCH_VERSION_FORMAT);

    rc = NGX_ERROR;

    if (ngx_http_batch_sum_write(fd, "store", "version", 0, text, p - text,
                                 log)
        == NGX_OK
        && (geteuid() != 0 || fchown(fd, uid, (gid_t) -1) == 0)
        && fdatasync(fd) == 0)
    {
        if (linkat(tmp, name, root, "version", 0) == 0) {
            rc = fsync(root) == 0 ? NGX_OK : NGX_ERROR;

        } else if (ngx_errno == NGX_EEXIST) {
            rc = NGX_DECLINED;
        }
    }

    ngx_http_batch_disk_close(fd);

    return rc;
}
