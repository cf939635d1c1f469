/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "batch_path.h"

#include <string.h>


typedef struct {
    batch_str_t    name;
    batch_path_e   call;
    batch_path_e   of;                 /* an action's collection */
} batch_path_name_t;


static int batch_path_named(const batch_path_name_t *names, size_t n,
    batch_path_e of, const unsigned char *p, size_t len, batch_path_e *call);
static size_t batch_path_segment(const unsigned char *p, size_t len);
static int batch_path_hex(unsigned char ch);
static int batch_path_unreserved(unsigned char ch);


static const batch_path_name_t  batch_path_collections[] = {
    { batch_string("files"), BATCH_PATH_FILES, BATCH_PATH_FILES },
    { batch_string("batches"), BATCH_PATH_BATCHES, BATCH_PATH_BATCHES },
    { batch_string("uploads"), BATCH_PATH_UPLOADS, BATCH_PATH_UPLOADS }
};

/* what may follow an object's id */

static const batch_path_name_t  batch_path_actions[] = {
    { batch_string("content"), BATCH_PATH_FILE_CONTENT, BATCH_PATH_FILES },
    { batch_string("cancel"), BATCH_PATH_BATCH_CANCEL, BATCH_PATH_BATCHES },
    { batch_string("parts"), BATCH_PATH_UPLOAD_PART, BATCH_PATH_UPLOADS },
    { batch_string("complete"), BATCH_PATH_UPLOAD_COMPLETE,
      BATCH_PATH_UPLOADS },
    { batch_string("cancel"), BATCH_PATH_UPLOAD_CANCEL, BATCH_PATH_UPLOADS }
};

#define batch_path_n(names)  (sizeof(names) / sizeof((names)[0]))


int
batch_path_parse(const unsigned char *p, size_t len, batch_path_t *path)
{
    size_t        n;
    batch_path_e  of;

    path->id.len = 0;
    path->id.data = NULL;

    n = batch_path_segment(p, len);

    if (batch_path_named(batch_path_collections,
                         batch_path_n(batch_path_collections),
                         BATCH_PATH_N, p, n, &of)
        != BATCH_OK)
    {
        return BATCH_ERROR;
    }

    if (n == len) {
        path->call = of;
        return BATCH_OK;
    }

    p += n + 1;
    len -= n + 1;

    n = batch_path_segment(p, len);

    if (n == 0) {
        return BATCH_ERROR;
    }

    path->id.data = p;
    path->id.len = n;

    if (n == len) {
        path->call = of + 1;
        return BATCH_OK;
    }

    return batch_path_named(batch_path_actions,
                            batch_path_n(batch_path_actions), of,
                            p + n + 1, len - n - 1, &path->call);
}


size_t
batch_path_collection(const unsigned char *uri, size_t len)
{
    size_t        i, n;
    batch_path_e  call;

    for (i = 0; i < len; i += n) {

        if (uri[i] != '/') {
            /* the text before the first slash */
            n = batch_path_segment(uri + i, len - i);
            continue;
        }

        i++;
        n = batch_path_segment(uri + i, len - i);

        if (batch_path_named(batch_path_collections,
                             batch_path_n(batch_path_collections),
                             BATCH_PATH_N, uri + i, n, &call)
            == BATCH_OK)
        {
            return i;
        }
    }

    return len;
}


size_t
batch_path_prefix(const unsigned char *name, size_t len, int exact)
{
    size_t        end, i;
    batch_path_e  call;

    if (exact) {
        return batch_path_collection(name, len);
    }

    end = len;

    if (end && name[end - 1] == '/') {
        end--;
    }

    for (i = end; i && name[i - 1] != '/'; i--) { /* void */ }

    return i && batch_path_named(batch_path_collections,
                                 batch_path_n(batch_path_collections),
                                 BATCH_PATH_N, name + i, end - i, &call)
                == BATCH_OK
           ? i : len;
}


size_t
batch_path_written(const unsigned char *p, size_t len,
    const unsigned char *prefix, size_t prefix_len)
{
    int     high, low;
    size_t  i, n;

    for (i = 0, n = 0; n < prefix_len; n++) {

        if (i == len) {
            return 0;
        }

        if (p[i] != '%') {

            if (p[i++] != prefix[n]) {
                return 0;
            }

            continue;
        }

        if (len - i < 3) {
            return 0;
        }

        high = batch_path_hex(p[i + 1]);
        low = batch_path_hex(p[i + 2]);

        if (high < 0 || low < 0 || (high << 4 | low) != prefix[n]
            || prefix[n] == '/' || batch_path_unreserved(prefix[n]))
        {
            return 0;
        }

        i += 3;
    }

    return i;
}


/* of any collection, if of is BATCH_PATH_N */

static int
batch_path_named(const batch_path_name_t *names, size_t n, batch_path_e of,
    const unsigned char *p, size_t len, batch_path_e *call)
{
    for ( /* void */ ; n; n--, names++) {

        if ((of == BATCH_PATH_N || of == names->of)
            && len == names->name.len
            && memcmp(p, names->name.data, len) == 0)
        {
            *call = names->call;
            return BATCH_OK;
        }
    }

    return BATCH_ERROR;
}


/* the length of what stands before the next slash */

static size_t
batch_path_segment(const unsigned char *p, size_t len)
{
    const unsigned char  *slash;

    slash = len ? memchr(p, '/', len) : NULL;

    return slash ? (size_t) (slash - p) : len;
}


static int
batch_path_hex(unsigned char ch)
{
    if (ch >= '0' && ch <= '9') {
        return ch - '0';
    }

    ch |= 0x20;

    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}


static int
batch_path_unreserved(unsigned char ch)
{
    return (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z')
           || (ch >= 'A' && ch <= 'Z')
           || ch == '-' || ch == '.' || ch == '_' || ch == '~';
}
