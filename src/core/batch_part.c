/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The headers of a part.  The name of a file is a stranger's text: it is kept
 * as data, and never becomes a path.
 */

#include "batch_part.h"
#include "batch_params.h"
#include "batch_scan.h"
#include "batch_utf8.h"

#include <string.h>


#define BATCH_PART_DISPOSITION  0x01
#define BATCH_PART_TYPE         0x02
#define BATCH_PART_ENCODING     0x04
#define BATCH_PART_NAME         0x08
#define BATCH_PART_FILENAME     0x10
#define BATCH_PART_EXTENDED     0x20     /* filename* */


static int
batch_part_fail(batch_multipart_t *mp, const char *error)
{
    mp->error = error;

    return BATCH_ERROR;
}


void
batch_part_reset(batch_multipart_t *mp)
{
    mp->seen = 0;
    mp->headers = 0;
    mp->line = 0;
    mp->header_len = 0;
    mp->name_len = 0;
    mp->has_filename = 0;
    mp->filename_len = 0;
    mp->filename[0] = '\0';
    mp->type_len = 0;
}


/*
 * Copies a text: control characters and bytes that are not UTF-8 become '_'.
 * At most cap bytes, cut before a character that does not fit; returns the
 * length.
 */

static size_t
batch_part_text(unsigned char *out, size_t cap, const unsigned char *p,
    size_t len)
{
    int                   n;
    size_t                used;
    const unsigned char  *last;

    used = 0;
    last = p + len;

    while (p < last) {
        n = batch_utf8_length(p, (size_t) (last - p));

        if (used + (n > 0 ? (size_t) n : 1) > cap) {
            break;
        }

        if (n <= 0 || batch_utf8_is_control(p, (size_t) n))
        {
            out[used++] = '_';

        } else {
            memcpy(out + used, p, (size_t) n);
            used += (size_t) n;
        }

        p += (n > 0) ? n : 1;
    }

    return used;
}


static void
batch_part_filename(batch_multipart_t *mp, const unsigned char *p, size_t len)
{
    size_t  i;

    for (i = len; i > 0; i--) {
        if (p[i - 1] == '/' || p[i - 1] == '\\') {
            break;
        }
    }

    p += i;
    len -= i;

    mp->has_filename = 1;
    mp->filename_len = 0;

    /* "." and ".." are directories, too */

    if (!(len == 1 && p[0] == '.')
        && !(len == 2 && p[0] == '.' && p[1] == '.'))
    {
        mp->filename_len = batch_part_text(mp->filename, BATCH_MP_FILENAME_MAX,
                                           p, len);
    }

    mp->filename[mp->filename_len] = '\0';
}


/* %22 is how browsers write a quote; in place */

static size_t
batch_part_unquote22(unsigned char *p, size_t len)
{
    size_t  i, n;

    for (i = 0, n = 0; i < len; i++) {

        if (p[i] == '%' && len - i >= 3 && p[i + 1] == '2' && p[i + 2] == '2')
        {
            p[n++] = '"';
            i += 2;
            continue;
        }

        p[n++] = p[i];
    }

    return n;
}


/* RFC 8187: UTF-8'language'percent-encoded; in place */

static int
batch_part_extended(batch_multipart_t *mp, unsigned char *p, size_t len)
{
    int             hi, lo;
    size_t          i, n;
    batch_str_t     charset;
    unsigned char  *quote;

    quote = memchr(p, '\'', len);

    if (quote == NULL) {
        goto invalid;
    }

    charset.data = p;
    charset.len = (size_t) (quote - p);

    if (!batch_params_is(&charset, "utf-8")) {
        goto invalid;
    }

    len -= charset.len + 1;
    p = quote + 1;
    quote = memchr(p, '\'', len);

    if (quote == NULL) {
        goto invalid;
    }

    len -= (size_t) (quote - p) + 1;
    p = quote + 1;

    for (i = 0, n = 0; i < len; i++) {

        if (p[i] != '%') {
            p[n++] = p[i];
            continue;
        }

        if (len - i < 3) {
            goto invalid;
        }

        hi = batch_scan_hex(p[i + 1]);
        lo = batch_scan_hex(p[i + 2]);

        if (hi < 0 || lo < 0) {
            goto invalid;
        }

        p[n++] = (unsigned char) (hi << 4 | lo);
        i += 2;
    }

    batch_part_filename(mp, p, n);

    return BATCH_OK;

invalid:

    return batch_part_fail(mp, "Invalid filename* in Content-Disposition.");
}


/* changes the value in place: it is in mp->header */

static int
batch_part_param(batch_multipart_t *mp, const batch_str_t *name,
    const batch_str_t *value, int quoted)
{
    size_t          len;
    unsigned        seen;
    unsigned char  *p;

    seen = batch_params_is(name, "name") ? BATCH_PART_NAME
           : batch_params_is(name, "filename") ? BATCH_PART_FILENAME
           : batch_params_is(name, "filename*") ? BATCH_PART_EXTENDED : 0;

    if (seen == 0) {
        return BATCH_OK;
    }

    if (mp->seen & seen) {
        return batch_part_fail(mp, "A parameter of Content-Disposition is "
                               "there twice.");
    }

    mp->seen |= seen;

    p = mp->header + (value->data - mp->header);
    len = quoted ? batch_params_unquote(p, value->len) : value->len;

    if (seen == BATCH_PART_EXTENDED) {
        return batch_part_extended(mp, p, len);
    }

    if (seen == BATCH_PART_FILENAME) {

        /* filename* wins over filename, in any order */

        if (!(mp->seen & BATCH_PART_EXTENDED)) {
            batch_part_filename(mp, p, batch_part_unquote22(p, len));
        }

        return BATCH_OK;
    }

    if (len > BATCH_MP_NAME_MAX) {
        return batch_part_fail(mp, "The name of a part of the multipart body "
                               "is too long.");
    }

    mp->name_len = batch_part_text(mp->name, BATCH_MP_NAME_MAX, p, len);

    return BATCH_OK;
}


static int
batch_part_disposition(batch_multipart_t *mp, const unsigned char *p,
    size_t len)
{
    int             rc, quoted;
    batch_str_t     word, name, value;
    batch_params_t  params;

    batch_params_init(&params, p, len, &word);

    if (!batch_params_is(&word, "form-data")) {
        return batch_part_fail(mp, "Content-Disposition of a part of the "
                               "multipart body must be form-data.");
    }

    for ( ;; ) {
        rc = batch_params_next(&params, &name, &value, &quoted);

        if (rc == BATCH_AGAIN) {
            return BATCH_OK;
        }

        if (rc == BATCH_ERROR) {
            return batch_part_fail(mp, "Malformed Content-Disposition in a "
                                   "part of the multipart body.");
        }

        if (batch_part_param(mp, &name, &value, quoted) != BATCH_OK) {
            return BATCH_ERROR;
        }
    }
}


static int
batch_part_type(batch_multipart_t *mp, const unsigned char *p, size_t len)
{
    batch_str_t  head;

    head.data = p;
    head.len = len < 10 ? len : 10;

    if (batch_params_is(&head, "multipart/")) {
        return batch_part_fail(mp, "Nested multipart bodies are not "
                               "supported.");
    }

    mp->type_len = batch_part_text(mp->type, sizeof(mp->type), p, len);

    return BATCH_OK;
}


static int
batch_part_encoding(batch_multipart_t *mp, const unsigned char *p, size_t len)
{
    batch_str_t  s;

    s.data = p;
    s.len = len;

    if (batch_params_is(&s, "binary") || batch_params_is(&s, "8bit")
        || batch_params_is(&s, "7bit"))
    {
        return BATCH_OK;
    }

    return batch_part_fail(mp, "Content-Transfer-Encoding is not supported in "
                           "a part of the multipart body.");
}


int
batch_part_header(batch_multipart_t *mp, unsigned char *p, size_t len)
{
    unsigned        seen;
    batch_str_t     name;
    unsigned char  *value, *last;

    if (*p == ' ' || *p == '\t') {
        return batch_part_fail(mp, "Folded header in a part of the multipart "
                               "body.");
    }

    last = p + len;
    value = p;

    while (value < last && batch_params_token(*value)) {
        value++;
    }

    name.data = p;
    name.len = (size_t) (value - p);

    if (name.len == 0 || value == last || *value != ':') {
        return batch_part_fail(mp, "Malformed header in a part of the "
                               "multipart body.");
    }

    for (value++; value < last && (*value == ' ' || *value == '\t'); value++) {
        /* void */
    }

    while (last > value && (last[-1] == ' ' || last[-1] == '\t')) {
        last--;
    }

    seen = batch_params_is(&name, "content-disposition")
               ? BATCH_PART_DISPOSITION
           : batch_params_is(&name, "content-type") ? BATCH_PART_TYPE
           : batch_params_is(&name, "content-transfer-encoding")
               ? BATCH_PART_ENCODING : 0;

    if (mp->seen & seen) {
        return batch_part_fail(mp, "A header of a part of the multipart body "
                               "is there twice.");
    }

    mp->seen |= seen;
    len = (size_t) (last - value);

    switch (seen) {
    case BATCH_PART_DISPOSITION:
        return batch_part_disposition(mp, value, len);
    case BATCH_PART_TYPE:
        return batch_part_type(mp, value, len);
    case BATCH_PART_ENCODING:
        return batch_part_encoding(mp, value, len);
    default:
        return BATCH_OK;
    }
}


int
batch_part_ready(batch_multipart_t *mp)
{
    if (!(mp->seen & BATCH_PART_DISPOSITION)) {
        return batch_part_fail(mp, "A part of the multipart body has no "
                               "Content-Disposition.");
    }

    if (mp->name_len == 0) {
        return batch_part_fail(mp, "A part of the multipart body has no "
                               "name.");
    }

    return BATCH_OK;
}
