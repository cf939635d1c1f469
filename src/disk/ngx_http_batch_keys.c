
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What Idempotency-Keys have been used for.
 */


#include "ngx_http_batch_disk.h"
#include "ngx_http_batch_keys.h"
#include "ngx_http_batch_object.h"
#include "ngx_http_batch_reread.h"


#define ngx_http_batch_keys_dir                                               \
    ngx_http_batch_layout_dirs[NGX_HTTP_BATCH_DIR_KEYS]


static ngx_int_t ngx_http_batch_keys_find(const char *key, int64_t now,
    const char *request, ngx_str_t *first, json_t **root, ngx_log_t *log);
static ngx_int_t ngx_http_batch_keys_read(const char *key, int64_t day,
    int64_t now, const char *request, ngx_str_t *first, json_t **root,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_keys_publish(const char *key, int64_t now,
    const char *request, const ngx_str_t *object, ngx_log_t *log);
static void ngx_http_batch_keys_name(const char *key, int64_t day,
    char name[NGX_HTTP_BATCH_NAME_LEN]);


ngx_int_t
ngx_http_batch_keys_claim(const char *key, const char *request,
    const ngx_str_t *object, ngx_str_t *first, json_t **root, ngx_log_t *log)
{
    int64_t     now;
    ngx_int_t   rc;
    ngx_uint_t  i;

    now = batch_clock_us();

    /*
     * Requests that come at the same time meet at the record's name, unless
     * they come on both sides of midnight, within the milliseconds between the
     * look at yesterday and the publishing.
     */

    for (i = 0; i < 2; i++) {

        rc = ngx_http_batch_keys_find(key, now, request, first, root, log);

        if (rc != NGX_AGAIN || object == NULL) {
            return rc;
        }

        rc = ngx_http_batch_keys_publish(key, now, request, object, log);

        if (rc != NGX_DECLINED) {
            return rc;
        }

        /* another was first: then there is something to read */
    }

    ngx_set_errno(EIO);

    return NGX_ERROR;
}


ngx_int_t
ngx_http_batch_keys_peek(const char *key, const char *request,
    ngx_str_t *first, json_t **root, ngx_log_t *log)
{
    return ngx_http_batch_keys_find(key, batch_clock_us(), request, first,
                                    root, log);
}


/* also at tomorrow: the clock may have been set back over a midnight */

static ngx_int_t
ngx_http_batch_keys_find(const char *key, int64_t now, const char *request,
    ngx_str_t *first, json_t **root, ngx_log_t *log)
{
    int64_t              day;
    ngx_int_t            rc;
    ngx_uint_t           i;
    static const int8_t  days[] = { 0, -1, 1 };

    *root = NULL;

    day = now / 1000000 / 86400;
    rc = NGX_AGAIN;

    for (i = 0; i < 3 && rc == NGX_AGAIN; i++) {
        rc = ngx_http_batch_keys_read(key, day + days[i], now, request, first,
                                      root, log);
    }

    return rc;
}


/* NGX_AGAIN: there is none that counts */

static ngx_int_t
ngx_http_batch_keys_read(const char *key, int64_t day, int64_t now,
    const char *request, ngx_str_t *first, json_t **root, ngx_log_t *log)
{
    char                   name[NGX_HTTP_BATCH_NAME_LEN];
    json_t                *o;
    ngx_int_t              rc;
    ngx_str_t              data;
    ngx_http_batch_key_t   record;

    ngx_http_batch_keys_name(key, day, name);

    rc = ngx_http_batch_sum_read(ngx_http_batch_keys_dir, "keys", name, 1,
                                 NGX_HTTP_BATCH_KEY_MAX, &data, log);

    if (rc != NGX_OK) {
        return rc == NGX_DECLINED ? NGX_AGAIN : NGX_ERROR;
    }

    rc = ngx_http_batch_keys_decode(&record, data.data, data.len, &o);

    ngx_free(data.data);

    if (rc != NGX_OK) {

        if (ngx_http_batch_store_damaged()) {
            ngx_log_error(NGX_LOG_ALERT, log, 0,
                          "batch: keys: \"%s\" is damaged", name);
            ngx_set_errno(EBADMSG);
        }

        return NGX_ERROR;
    }

    if (record.at <= now - (int64_t) NGX_HTTP_BATCH_KEY_TTL * 1000000) {
        json_decref(o);
        return NGX_AGAIN;
    }

    if (ngx_strcmp(record.request, request) != 0) {
        json_decref(o);
        return NGX_DECLINED;
    }

    *first = record.object;
    *root = o;

    return NGX_DONE;
}


ngx_int_t
ngx_http_batch_keys_decode(ngx_http_batch_key_t *record, const u_char *data,
    size_t len, json_t **root)
{
    json_t  *o, *object;

    *root = NULL;

    o = ngx_http_batch_object_json(data, len, JSON_REJECT_DUPLICATES);

    if (o == NULL) {
        return NGX_ERROR;
    }

    object = json_object_get(o, "object");

    record->at = json_integer_value(json_object_get(o, "at"));
    record->request = json_string_value(json_object_get(o, "request"));
    record->object.data = (u_char *) json_string_value(object);
    record->object.len = json_string_length(object);

    if (record->at == 0 || record->request == NULL
        || record->object.data == NULL)
    {
        json_decref(o);
        ngx_set_errno(EBADMSG);
        return NGX_ERROR;
    }

    *root = o;

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_keys_publish(const char *key, int64_t now, const char *request,
    const ngx_str_t *object, ngx_log_t *log)
{
    char        name[NGX_HTTP_BATCH_NAME_LEN], tmp[NGX_HTTP_BATCH_TMP_LEN];
    char       *text;
    json_t     *o;
    ngx_fd_t    fd;
    ngx_int_t   rc;

    o = json_pack("{s:i,s:I,s:s,s:s%}", "v", NGX_HTTP_BATCH_FORMAT,
                  "at", (json_int_t) now, "request", request,
                  "object", (char *) object->data, object->len);
    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);

    if (text == NULL) {
        ngx_set_errno(NGX_ENOMEM);
        return NGX_ERROR;
    }

    fd = ngx_http_batch_store_tmp(tmp, log);

    if (fd == NGX_INVALID_FILE) {
        ngx_http_batch_disk_free(text);
        return NGX_ERROR;
    }

    ngx_http_batch_keys_name(key, now / 1000000 / 86400, name);

    rc = ngx_http_batch_reread(NGX_HTTP_BATCH_REREAD_KEY, "keys", name, text,
                               ngx_strlen(text), log);

    if (rc == NGX_OK) {
        rc = ngx_http_batch_sum_write(fd, "keys", name, 1, text,
                                      ngx_strlen(text), log);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_batch_publish_link(ngx_http_batch_keys_dir, "keys",
                                         name, fd, tmp, 1, log);

    } else {
        ngx_http_batch_store_tmp_delete(tmp, log);
    }

    ngx_http_batch_disk_close(fd);

    ngx_http_batch_disk_free(text);

    return rc;
}


static void
ngx_http_batch_keys_name(const char *key, int64_t day,
    char name[NGX_HTTP_BATCH_NAME_LEN])
{
    (void) ngx_slprintf((u_char *) name,
                        (u_char *) name + NGX_HTTP_BATCH_NAME_LEN,
                        "%s.%L%Z", key, day);
}


ngx_int_t
ngx_http_batch_keys_sweep(ngx_http_batch_sweep_dir_t *s, ngx_uint_t n,
    ngx_log_t *log)
{
    /* the hour is for clocks that differ */

    return ngx_http_batch_layout_sweep(s, NGX_HTTP_BATCH_DIR_KEYS,
                                       NGX_HTTP_BATCH_KEY_TTL + 3600, n, log);
}
