
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The manifest of a file: <file id>.json.
 */


#include "ngx_http_batch_object.h"
#include "ngx_http_batch_object_int.h"


ngx_str_t
ngx_http_batch_file_encode(const ngx_http_batch_file_t *f)
{
    return ngx_http_batch_object_dump(ngx_http_batch_file_json(f));
}


json_t *
ngx_http_batch_file_json(const ngx_http_batch_file_t *f)
{
    if (ngx_http_batch_object_text(&f->tenant) != NGX_OK
        || ngx_http_batch_object_text(&f->purpose) != NGX_OK)
    {
        return NULL;
    }

    return json_pack("{s:i,s:s,s:s%,s:s%,s:o,s:I,s:I,s:I}",
                     "v", NGX_HTTP_BATCH_FORMAT,
                     "id", f->id,
                     "tenant", ngx_http_batch_object_s(&f->tenant),
                     "purpose", ngx_http_batch_object_s(&f->purpose),
                     "filename", ngx_http_batch_object_name(&f->filename),
                     "bytes", (json_int_t) f->bytes,
                     "created_us", (json_int_t) f->created_us,
                     "expires_at", (json_int_t) f->expires_at);
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
