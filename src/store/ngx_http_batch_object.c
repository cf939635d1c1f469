/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "ngx_http_batch_object.h"
#include <ngx_sha1.h>


static ngx_int_t ngx_http_batch_object_string(json_t *object, const char *key,
    ngx_str_t *value);
static ngx_int_t ngx_http_batch_object_id(json_t *object,
    batch_id_kind_e kind, char id[BATCH_ID_LEN]);
static int64_t ngx_http_batch_object_int(json_t *object, const char *key);
static json_t *ngx_http_batch_object_load(const u_char *data, size_t len);
static ngx_str_t ngx_http_batch_object_dump(json_t *object);
static ngx_int_t ngx_http_batch_object_set(json_t *object, const char *key,
    json_t *value);
static json_t *ngx_http_batch_object_text(const ngx_str_t *s);
static json_t *ngx_http_batch_object_name(const ngx_str_t *s);


ngx_str_t
ngx_http_batch_file_encode(const ngx_http_batch_file_t *f)
{
    return ngx_http_batch_object_dump(ngx_http_batch_file_json(f));
}


json_t *
ngx_http_batch_file_json(const ngx_http_batch_file_t *f)
{
    json_t     *o;
    ngx_int_t   rc;

    o = json_object();
    if (o == NULL) {
        return NULL;
    }

    rc = ngx_http_batch_object_set(o, "v",
                                   json_integer(NGX_HTTP_BATCH_FORMAT));
    rc |= ngx_http_batch_object_set(o, "id", json_string(f->id));
    rc |= ngx_http_batch_object_set(o, "tenant",
                                    ngx_http_batch_object_text(&f->tenant));
    rc |= ngx_http_batch_object_set(o, "purpose",
                                    ngx_http_batch_object_text(&f->purpose));
    rc |= ngx_http_batch_object_set(o, "filename",
                                    ngx_http_batch_object_name(&f->filename));
    rc |= ngx_http_batch_object_set(o, "bytes", json_integer(f->bytes));
    rc |= ngx_http_batch_object_set(o, "created_us",
                                    json_integer(f->created_us));
    rc |= ngx_http_batch_object_set(o, "expires_at",
                                    json_integer(f->expires_at));

    if (rc != NGX_OK) {
        json_decref(o);
        return NULL;
    }

    return o;
}


ngx_int_t
ngx_http_batch_file_decode(ngx_http_batch_file_t *f, const u_char *data,
    size_t len, json_t **root)
{
    *root = ngx_http_batch_object_load(data, len);

    if (ngx_http_batch_file_from_json(f, *root) != NGX_OK) {
        json_decref(*root);
        *root = NULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_file_decode_of(ngx_http_batch_file_t *f, const char *id,
    const u_char *data, size_t len, json_t **root)
{
    json_t            *object, *name;
    ngx_uint_t         i;
    static const char  *keys[] = { "output", "error" };

    *root = ngx_http_batch_object_load(data, len);
    object = *root;

    for (i = 0; i < 2; i++) {
        name = json_object_get(json_object_get(*root, keys[i]), "id");

        if (json_is_string(name)
            && ngx_strcmp(json_string_value(name), id) == 0)
        {
            object = json_object_get(*root, keys[i]);
        }
    }

    if (ngx_http_batch_file_from_json(f, object) != NGX_OK
        || ngx_strcmp(f->id, id) != 0)
    {
        json_decref(*root);
        *root = NULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_file_from_json(ngx_http_batch_file_t *f, json_t *object)
{
    ngx_memzero(f, sizeof(ngx_http_batch_file_t));

    if (!json_is_object(object)
        || ngx_http_batch_object_int(object, "v") < 1
        || ngx_http_batch_object_id(object, BATCH_ID_FILE, f->id) != NGX_OK
        || ngx_http_batch_object_string(object, "tenant", &f->tenant)
           != NGX_OK
        || ngx_http_batch_object_string(object, "purpose", &f->purpose)
           != NGX_OK
        || ngx_http_batch_object_string(object, "filename", &f->filename)
           != NGX_OK
        || !json_is_integer(json_object_get(object, "bytes"))
        || !json_is_integer(json_object_get(object, "created_us")))
    {
        return NGX_ERROR;
    }

    f->bytes = (off_t) ngx_http_batch_object_int(object, "bytes");
    f->created_us = ngx_http_batch_object_int(object, "created_us");
    f->expires_at = ngx_http_batch_object_int(object, "expires_at");

    if (f->bytes < 0 || f->created_us < 0 || f->expires_at < 0) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_str_t
ngx_http_batch_meta_encode(const ngx_http_batch_meta_t *m)
{
    json_t     *o;
    ngx_int_t   rc;

    o = json_object();
    if (o == NULL) {
        return ngx_http_batch_object_dump(NULL);
    }

    rc = ngx_http_batch_object_set(o, "v",
                                   json_integer(NGX_HTTP_BATCH_FORMAT));
    rc |= ngx_http_batch_object_set(o, "id", json_string(m->id));
    rc |= ngx_http_batch_object_set(o, "tenant",
                                    ngx_http_batch_object_text(&m->tenant));
    rc |= ngx_http_batch_object_set(o, "route",
                                    ngx_http_batch_object_text(&m->route));
    rc |= ngx_http_batch_object_set(o, "input_file_id",
                                ngx_http_batch_object_text(&m->input_file_id));
    rc |= ngx_http_batch_object_set(o, "endpoint",
                                    ngx_http_batch_object_text(&m->endpoint));
    rc |= ngx_http_batch_object_set(o, "completion_window",
                                    ngx_http_batch_object_text(&m->window));
    rc |= ngx_http_batch_object_set(o, "created_us",
                                    json_integer(m->created_us));
    rc |= ngx_http_batch_object_set(o, "expires_at",
                                    json_integer(m->expires_at));
    rc |= ngx_http_batch_object_set(o, "job_id",
                                    ngx_http_batch_object_text(&m->job_id));
    rc |= ngx_http_batch_object_set(o, "price", json_real(m->price));
    rc |= ngx_http_batch_object_set(o, "model",
                                    ngx_http_batch_object_text(&m->model));
    rc |= ngx_http_batch_object_set(o, "output_ttl",
                                    json_integer(m->output_ttl));
    rc |= ngx_http_batch_object_set(o, "metadata",
                                    m->metadata ? json_incref(m->metadata)
                                                : json_null());

    if (rc != NGX_OK) {
        json_decref(o);
        o = NULL;
    }

    return ngx_http_batch_object_dump(o);
}


static ngx_int_t
ngx_http_batch_meta_from_json(ngx_http_batch_meta_t *m, json_t *o)
{
    json_t  *md;

    ngx_memzero(m, sizeof(ngx_http_batch_meta_t));

    if (!json_is_object(o)
        || ngx_http_batch_object_int(o, "v") < 1
        || ngx_http_batch_object_id(o, BATCH_ID_BATCH, m->id) != NGX_OK
        || ngx_http_batch_object_string(o, "tenant", &m->tenant) != NGX_OK
        || ngx_http_batch_object_string(o, "route", &m->route) != NGX_OK
        || ngx_http_batch_object_string(o, "input_file_id",
                                        &m->input_file_id) != NGX_OK
        || ngx_http_batch_object_string(o, "endpoint", &m->endpoint) != NGX_OK
        || ngx_http_batch_object_string(o, "completion_window", &m->window)
           != NGX_OK
        || ngx_http_batch_object_string(o, "job_id", &m->job_id) != NGX_OK
        || ngx_http_batch_object_string(o, "model", &m->model) != NGX_OK
        || !json_is_integer(json_object_get(o, "created_us")))
    {
        return NGX_ERROR;
    }

    m->created_us = ngx_http_batch_object_int(o, "created_us");
    m->expires_at = ngx_http_batch_object_int(o, "expires_at");
    m->output_ttl = ngx_http_batch_object_int(o, "output_ttl");
    m->price = json_number_value(json_object_get(o, "price"));

    if (m->created_us < 0 || m->expires_at < 0 || m->output_ttl < 0) {
        return NGX_ERROR;
    }

    md = json_object_get(o, "metadata");
    m->metadata = json_is_object(md) ? md : NULL;

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_meta_decode(ngx_http_batch_meta_t *m, const u_char *data,
    size_t len, json_t **root)
{
    *root = ngx_http_batch_object_load(data, len);

    if (ngx_http_batch_meta_from_json(m, *root) != NGX_OK) {
        json_decref(*root);
        *root = NULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}


static const char  *ngx_http_batch_upload_statuses[] = {
    "pending", "completed", "cancelled", "expired"
};


const char *
ngx_http_batch_uploads_status(ngx_http_batch_upload_status_e s)
{
    return ngx_http_batch_upload_statuses[s];
}


ngx_str_t
ngx_http_batch_uploads_encode(const ngx_http_batch_upload_t *u)
{
    json_t     *o;
    ngx_int_t   rc;

    o = json_object();
    if (o == NULL) {
        return ngx_http_batch_object_dump(NULL);
    }

    rc = ngx_http_batch_object_set(o, "v",
                                   json_integer(NGX_HTTP_BATCH_FORMAT));
    rc |= ngx_http_batch_object_set(o, "id", json_string(u->id));
    rc |= ngx_http_batch_object_set(o, "tenant",
                                    ngx_http_batch_object_text(&u->tenant));
    rc |= ngx_http_batch_object_set(o, "purpose",
                                    ngx_http_batch_object_text(&u->purpose));
    rc |= ngx_http_batch_object_set(o, "filename",
                                    ngx_http_batch_object_name(&u->filename));
    rc |= ngx_http_batch_object_set(o, "mime_type",
                                    ngx_http_batch_object_name(&u->mime_type));
    rc |= ngx_http_batch_object_set(o, "bytes", json_integer(u->bytes));
    rc |= ngx_http_batch_object_set(o, "created_us",
                                    json_integer(u->created_us));
    rc |= ngx_http_batch_object_set(o, "expires_at",
                                    json_integer(u->expires_at));
    rc |= ngx_http_batch_object_set(o, "file_expires_at",
                                    json_integer(u->file_expires_at));

    if (rc != NGX_OK) {
        json_decref(o);
        o = NULL;
    }

    return ngx_http_batch_object_dump(o);
}


ngx_int_t
ngx_http_batch_uploads_decode(ngx_http_batch_upload_t *u, const u_char *data,
    size_t len, json_t **root)
{
    json_t  *o;

    ngx_memzero(u, sizeof(ngx_http_batch_upload_t));

    o = ngx_http_batch_object_load(data, len);

    if (!json_is_object(o)
        || ngx_http_batch_object_int(o, "v") < 1
        || ngx_http_batch_object_id(o, BATCH_ID_UPLOAD, u->id) != NGX_OK
        || ngx_http_batch_object_string(o, "tenant", &u->tenant) != NGX_OK
        || ngx_http_batch_object_string(o, "purpose", &u->purpose) != NGX_OK
        || ngx_http_batch_object_string(o, "filename", &u->filename) != NGX_OK
        || ngx_http_batch_object_string(o, "mime_type", &u->mime_type)
           != NGX_OK)
    {
        json_decref(o);
        *root = NULL;
        return NGX_ERROR;
    }

    u->bytes = (off_t) ngx_http_batch_object_int(o, "bytes");
    u->created_us = ngx_http_batch_object_int(o, "created_us");
    u->expires_at = ngx_http_batch_object_int(o, "expires_at");
    u->file_expires_at = ngx_http_batch_object_int(o, "file_expires_at");

    if (u->bytes < 1 || u->created_us < 1 || u->expires_at < 1
        || u->file_expires_at < 0)
    {
        json_decref(o);
        *root = NULL;
        return NGX_ERROR;
    }

    *root = o;

    return NGX_OK;
}


ngx_str_t
ngx_http_batch_uploads_end_encode(const char *id,
    ngx_http_batch_upload_status_e status, const char *parts,
    const ngx_http_batch_file_t *f)
{
    json_t     *o;
    ngx_int_t   rc;

    o = json_object();
    if (o == NULL) {
        return ngx_http_batch_object_dump(NULL);
    }

    rc = ngx_http_batch_object_set(o, "v",
                                   json_integer(NGX_HTTP_BATCH_FORMAT));
    rc |= ngx_http_batch_object_set(o, "id", json_string(id));
    rc |= ngx_http_batch_object_set(o, "status",
                        json_string(ngx_http_batch_uploads_status(status)));

    if (f) {
        rc |= ngx_http_batch_object_set(o, "parts", json_string(parts));
        rc |= ngx_http_batch_object_set(o, "file",
                                        ngx_http_batch_file_json(f));
    }

    if (rc != NGX_OK) {
        json_decref(o);
        o = NULL;
    }

    return ngx_http_batch_object_dump(o);
}


ngx_str_t
ngx_http_batch_object_hook(const char *id, int64_t delivered_at)
{
    return ngx_http_batch_object_dump(json_pack("{s:i,s:s,s:I}",
                                      "v", NGX_HTTP_BATCH_FORMAT, "id", id,
                                      "delivered_at",
                                      (json_int_t) delivered_at));
}


ngx_int_t
ngx_http_batch_uploads_end_decode(ngx_http_batch_upload_status_e *status,
    ngx_str_t *parts, ngx_http_batch_file_t *f, const u_char *data, size_t len,
    json_t **root)
{
    json_t      *o;
    ngx_uint_t   i;
    const char  *s;

    o = ngx_http_batch_object_load(data, len);
    s = json_string_value(json_object_get(o, "status"));

    for (i = NGX_HTTP_BATCH_UPLOAD_COMPLETED;
         s && i <= NGX_HTTP_BATCH_UPLOAD_EXPIRED;
         i++)
    {
        if (ngx_strcmp(s, ngx_http_batch_upload_statuses[i]) == 0) {
            break;
        }
    }

    if (s == NULL || i > NGX_HTTP_BATCH_UPLOAD_EXPIRED
        || ngx_http_batch_object_string(o, "parts", parts) != NGX_OK
        || (i == NGX_HTTP_BATCH_UPLOAD_COMPLETED
            && ngx_http_batch_file_from_json(f, json_object_get(o, "file"))
               != NGX_OK))
    {
        json_decref(o);
        *root = NULL;
        return NGX_ERROR;
    }

    *status = i;
    *root = o;

    return NGX_OK;
}


void
ngx_http_batch_object_tenant_key(const ngx_str_t *tenant, char key[41])
{
    u_char      digest[20];
    ngx_sha1_t  sha1;

    if (tenant->len == 0) {
        ngx_memcpy(key, "0", 2);
        return;
    }

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, tenant->data, tenant->len);
    ngx_sha1_final(digest, &sha1);

    *ngx_hex_dump((u_char *) key, digest, 20) = '\0';
}


/* a missing string is an empty one, another type is an error */

static ngx_int_t
ngx_http_batch_object_string(json_t *object, const char *key,
    ngx_str_t *value)
{
    json_t  *s;

    s = json_object_get(object, key);

    if (s == NULL || json_is_null(s)) {
        ngx_str_set(value, "");
        return NGX_OK;
    }

    if (!json_is_string(s)) {
        return NGX_ERROR;
    }

    value->data = (u_char *) json_string_value(s);
    value->len = json_string_length(s);

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_object_id(json_t *object, batch_id_kind_e kind,
    char id[BATCH_ID_LEN])
{
    size_t       len;
    json_t      *s;
    const char  *p;

    s = json_object_get(object, "id");

    if (!json_is_string(s)) {
        return NGX_ERROR;
    }

    p = json_string_value(s);
    len = json_string_length(s);

    if (len >= BATCH_ID_LEN
        || !batch_id_check(kind, (const unsigned char *) p, len))
    {
        return NGX_ERROR;
    }

    ngx_memcpy(id, p, len + 1);

    return NGX_OK;
}


static int64_t
ngx_http_batch_object_int(json_t *object, const char *key)
{
    return (int64_t) json_integer_value(json_object_get(object, key));
}


json_t *
ngx_http_batch_object_json(const u_char *data, size_t len, size_t flags)
{
    json_t  *root;

    /* jansson does not always tell an allocation that failed from a syntax
     * error */

    ngx_set_errno(0);

    root = json_loadb((const char *) data, len, flags, NULL);

    if (root || ngx_errno != NGX_ENOMEM) {
        ngx_set_errno(EBADMSG);
    }

    return root;
}


static json_t *
ngx_http_batch_object_load(const u_char *data, size_t len)
{
    if (data == NULL) {
        return NULL;
    }

    return ngx_http_batch_object_json(data, len, JSON_REJECT_DUPLICATES);
}


/* takes over the reference */

static ngx_str_t
ngx_http_batch_object_dump(json_t *object)
{
    ngx_str_t  s;

    ngx_str_null(&s);

    if (object == NULL) {
        return s;
    }

    /* 15 digits: what was written as 0.2 stays 0.2 */

    s.data = (u_char *) json_dumps(object, JSON_COMPACT
                                           | JSON_REAL_PRECISION(15));
    json_decref(object);

    if (s.data != NULL) {
        s.len = ngx_strlen(s.data);
    }

    return s;
}


/* takes over value, which may be NULL for lack of memory or wrong content */

static ngx_int_t
ngx_http_batch_object_set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0 ? NGX_OK : NGX_ERROR;
}


/*
 * NULL if it is not UTF-8 or has a NUL: a tenant must come back as it was, or
 * two of them could become one
 */

static json_t *
ngx_http_batch_object_text(const ngx_str_t *s)
{
    if (s->len == 0) {
        return json_string("");
    }

    if (ngx_strlchr(s->data, s->data + s->len, '\0') != NULL) {
        return NULL;
    }

    return json_stringn((const char *) s->data, s->len);
}


/* a file's name is only shown: what is not UTF-8 becomes '?' */

static json_t *
ngx_http_batch_object_name(const ngx_str_t *s)
{
    u_char  *name;
    json_t  *value;
    size_t   i;

    value = ngx_http_batch_object_text(s);

    if (value != NULL) {
        return value;
    }

    name = ngx_alloc(s->len, ngx_cycle->log);
    if (name == NULL) {
        return NULL;
    }

    for (i = 0; i < s->len; i++) {
        name[i] = (s->data[i] == '\0' || s->data[i] >= 0x80) ? '?'
                                                             : s->data[i];
    }

    value = json_stringn((const char *) name, s->len);
    ngx_free(name);

    return value;
}
