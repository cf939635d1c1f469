
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * JSON files end with a checksum of their own.  One that is damaged,
 * was edited, or is another object's is logged and not used.
 */


#include "ngx_http_batch_disk.h"
#include "batch_crc32c.h"


/* the last member and the brace, after a comma unless it is the only one */

#define NGX_HTTP_BATCH_SUM_HEAD  "\"crc\":\""
#define NGX_HTTP_BATCH_SUM_LEN   (sizeof(NGX_HTTP_BATCH_SUM_HEAD) - 1 + 8 + 2)


/* of the bytes before the comma, after the object's path below its room */

static uint32_t
ngx_http_batch_sum_crc(const char *id, const char *name, ngx_uint_t named,
    const u_char *data, size_t len)
{
    uint32_t  crc;

    crc = 0;

    if (named) {
        crc = batch_crc32c(crc, id, ngx_strlen(id));
        crc = batch_crc32c(crc, "/", 1);
        crc = batch_crc32c(crc, name, ngx_strlen(name) + 1);
    }

    return batch_crc32c(crc, data, len);
}


static void
ngx_http_batch_sum_text(uint32_t crc, u_char text[NGX_HTTP_BATCH_SUM_LEN + 1])
{
    (void) ngx_slprintf(text, text + NGX_HTTP_BATCH_SUM_LEN + 1,
                        NGX_HTTP_BATCH_SUM_HEAD "%08xD\"}%Z", crc);
}


ngx_int_t
ngx_http_batch_sum_write(ngx_fd_t fd, const char *id,
    const char *name, ngx_uint_t named, const void *data, size_t len,
    ngx_log_t *log)
{
    u_char         sum[NGX_HTTP_BATCH_SUM_LEN + 2];
    size_t         n;
    const u_char  *p;

    p = data;

    if (len < 2 || p[0] != '{' || p[len - 1] != '}') {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "batch: %s: \"%s\" would not be a JSON object",
                      id, name);
        ngx_set_errno(EINVAL);
        return NGX_ERROR;
    }

    n = len - 1;

    sum[0] = ',';
    ngx_http_batch_sum_text(ngx_http_batch_sum_crc(id, name, named, p, n),
                            sum + 1);

    if (ngx_http_batch_store_write(fd, p, n, 0, log) != NGX_OK) {
        return NGX_ERROR;
    }

    if (n == 1) {
        return ngx_http_batch_store_write(fd, sum + 1, NGX_HTTP_BATCH_SUM_LEN,
                                          (off_t) n, log);
    }

    return ngx_http_batch_store_write(fd, sum, NGX_HTTP_BATCH_SUM_LEN + 1,
                                      (off_t) n, log);
}


/* NGX_OK: only the object is left of *data; else it was logged */

static ngx_int_t
ngx_http_batch_sum_check(const char *id, const char *name,
    ngx_uint_t named, ngx_str_t *data, ngx_log_t *log)
{
    size_t     n, head;
    u_char    *p, sum[NGX_HTTP_BATCH_SUM_LEN + 1];
    uint32_t   crc;

    p = data->data;
    n = data->len;
    head = sizeof(NGX_HTTP_BATCH_SUM_HEAD) - 1;

    /* what an editor may have put there */

    while (n && (p[n - 1] == LF || p[n - 1] == CR || p[n - 1] == ' ')) {
        n--;
    }

    if (n < 2 || p[0] != '{' || p[n - 1] != '}') {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "batch: %s: \"%s\" is damaged: it is not a whole JSON"
                      " object", id, name);
        return NGX_ERROR;
    }

    if (n < NGX_HTTP_BATCH_SUM_LEN + 1
        || ngx_memcmp(p + n - NGX_HTTP_BATCH_SUM_LEN, NGX_HTTP_BATCH_SUM_HEAD,
                      head)
           != 0)
    {
        crc = ngx_http_batch_sum_crc(id, name, named, p, n - 1);

        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "batch: %s: \"%s\" is damaged: it does not end with"
                      " its \"crc\", which would be \"%08xD\"",
                      id, name, crc);
        return NGX_ERROR;
    }

    n -= NGX_HTTP_BATCH_SUM_LEN;

    if (p[n - 1] == ',') {
        n--;
    }

    crc = ngx_http_batch_sum_crc(id, name, named, p, n);
    ngx_http_batch_sum_text(crc, sum);

    if (ngx_memcmp(p + n + (p[n] == ','), sum, NGX_HTTP_BATCH_SUM_LEN) != 0) {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "batch: %s: \"%s\" is damaged, edited or another"
                      " object's: its \"crc\" would be \"%08xD\"",
                      id, name, crc);
        return NGX_ERROR;
    }

    p[n] = '}';
    p[n + 1] = '\0';
    data->len = n + 1;

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_sum_read(ngx_fd_t dir, const char *id,
    const char *name, ngx_uint_t named, size_t max, ngx_str_t *data,
    ngx_log_t *log)
{
    ngx_int_t  rc;

    rc = ngx_http_batch_disk_read(dir, id, name, max, data, log);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_batch_sum_check(id, name, named, data, log) != NGX_OK) {
        ngx_free(data->data);
        ngx_str_null(data);
        ngx_set_errno(EBADMSG);
        return NGX_ERROR;
    }

    return NGX_OK;
}
