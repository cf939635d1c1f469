
/*
 * Copyright (C) the ngx_http_batch_module authors
 */


#include "ngx_http_batch_defects.h"
#include "ngx_http_batch_dedup.h"
#include "ngx_http_batch_validate.h"


/* duplicates are collected up to twice the limit, then the later half goes */
#define NGX_HTTP_BATCH_DUPS_ROOM   (2 * NGX_HTTP_BATCH_ERRORS_MAX)

/* bytes of a message */
#define NGX_HTTP_BATCH_DEFECT_LEN  512


/* bytes of JSON: what the entry about those that are not listed may take */
#define NGX_HTTP_BATCH_DEFECT_MORE  256


static void
ngx_http_batch_defects_object(batch_text_t *t, const char *code,
    uint64_t line, const char *param, const u_char *message, size_t len)
{
    if (t->len) {
        batch_text_literal(t, ",");
    }

    batch_text_printf(t, "{\"code\":\"%s\",\"line\":", code);

    if (line) {
        batch_text_printf(t, "%" PRIu64, line);

    } else {
        batch_text_literal(t, "null");
    }

    batch_text_literal(t, ",\"message\":");
    batch_text_string(t, message, len);

    if (param) {
        batch_text_printf(t, ",\"param\":\"%s\"}", param);

    } else {
        batch_text_literal(t, ",\"param\":null}");
    }
}


void
ngx_http_batch_defects_whole(ngx_http_batch_defects_t *d, const char *code,
    const char *param, const char *fmt, ...)
{
    u_char   *last, buf[NGX_HTTP_BATCH_DEFECT_LEN];
    va_list   args;

    va_start(args, fmt);
    last = ngx_vslprintf(buf, buf + sizeof(buf), fmt, args);
    va_end(args);

    ngx_http_batch_defects_object(&d->whole, code, 0, param, buf, last - buf);

    d->nwhole++;
    d->failed |= d->whole.failed;
}


void
ngx_http_batch_defects_line(ngx_http_batch_defects_t *d, uint64_t line,
    const char *code, const char *param, const char *fmt, ...)
{
    size_t                    len;
    u_char                    buf[NGX_HTTP_BATCH_DEFECT_LEN];
    va_list                   args;
    ngx_http_batch_defect_t  *e;

    d->total++;

    if (d->nlines == NGX_HTTP_BATCH_ERRORS_MAX) {
        return;
    }

    if (d->lines == NULL) {
        d->lines = malloc(NGX_HTTP_BATCH_ERRORS_MAX
                          * sizeof(ngx_http_batch_defect_t));
        if (d->lines == NULL) {
            d->failed = 1;
            return;
        }
    }

    va_start(args, fmt);
    len = ngx_vslprintf(buf, buf + sizeof(buf), fmt, args) - buf;
    va_end(args);

    e = &d->lines[d->nlines];

    e->message.data = malloc(len + 1);
    if (e->message.data == NULL) {
        d->failed = 1;
        return;
    }

    ngx_memcpy(e->message.data, buf, len);
    e->message.len = len;
    e->line = line;
    e->code = code;
    e->param = param;

    d->nlines++;
}


static int ngx_libc_cdecl
ngx_http_batch_defects_cmp(const void *one, const void *two)
{
    const ngx_http_batch_dup_t  *a = one, *b = two;

    return (a->line > b->line) - (a->line < b->line);
}


static void
ngx_http_batch_defects_cut(ngx_http_batch_defects_t *d)
{
    if (d->ndups == 0) {
        return;
    }

    ngx_qsort(d->dups, d->ndups, sizeof(ngx_http_batch_dup_t),
              ngx_http_batch_defects_cmp);

    d->ndups = ngx_min(d->ndups, NGX_HTTP_BATCH_ERRORS_MAX);
}


void
ngx_http_batch_defects_dup(void *defects, uint64_t line, off_t offset)
{
    ngx_http_batch_defects_t *d = defects;

    d->total_dups++;

    if (d->dups == NULL) {
        d->dups = malloc(NGX_HTTP_BATCH_DUPS_ROOM
                         * sizeof(ngx_http_batch_dup_t));
        if (d->dups == NULL) {
            d->failed = 1;
            return;
        }
    }

    if (d->ndups == NGX_HTTP_BATCH_DUPS_ROOM) {
        ngx_http_batch_defects_cut(d);
    }

    d->dups[d->ndups].line = line;
    d->dups[d->ndups].offset = offset;
    d->ndups++;
}


static ngx_int_t
ngx_http_batch_defects_dup_text(batch_text_t *t,
    ngx_http_batch_dup_t *dup, ngx_fd_t input, ngx_log_t *log)
{
    size_t          len;
    u_char         *p, id[BATCH_CUSTOM_ID_MAX];
    u_char          buf[NGX_HTTP_BATCH_DEFECT_LEN];
    batch_shown_t   shown;

    if (ngx_http_batch_dedup_token(input, dup->offset, id, &len, log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = ngx_slprintf(buf, buf + sizeof(buf),
                     "The custom_id '%s' for this request is a duplicate of "
                     "another request. The custom_id parameter must be unique "
                     "for each request in a batch.",
                     batch_shown(&shown, id, len));

    ngx_http_batch_defects_object(t, "duplicate_custom_id", dup->line,
                                  "custom_id", buf, p - buf);

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_defects_text(ngx_http_batch_defects_t *d, ngx_fd_t input,
    batch_text_t *t, ngx_log_t *log)
{
    size_t                    i, j, n, before, max;
    u_char                   *p, buf[128];
    uint64_t                  total;
    ngx_http_batch_defect_t  *e;

    ngx_http_batch_defects_cut(d);

    batch_text_append(t, d->whole.data, d->whole.len);

    max = NGX_HTTP_BATCH_ERRORS_SIZE - NGX_HTTP_BATCH_DEFECT_MORE;

    for (i = 0, j = 0, n = 0; n < NGX_HTTP_BATCH_ERRORS_MAX; n++) {

        before = t->len;

        if (j < d->ndups
            && (i == d->nlines || d->dups[j].line < d->lines[i].line))
        {
            if (ngx_http_batch_defects_dup_text(t, &d->dups[j++], input, log)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

        } else if (i < d->nlines) {
            e = &d->lines[i++];

            ngx_http_batch_defects_object(t, e->code, e->line, e->param,
                                          e->message.data, e->message.len);

        } else {
            break;
        }

        if (t->len > max) {
            t->len = before;
            break;
        }
    }

    total = d->total + d->total_dups;

    if (total > n) {
        p = ngx_slprintf(buf, buf + sizeof(buf),
                         "%uL more lines have errors that are not listed.",
                         total - n);

        ngx_http_batch_defects_object(t, "more_errors", 0, NULL, buf,
                                      p - buf);
    }

    if (d->failed || t->failed) {
        ngx_log_error(NGX_LOG_EMERG, log, NGX_ENOMEM,
                      "batch: no memory for the list of errors");
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_http_batch_defects_free(ngx_http_batch_defects_t *d)
{
    size_t  i;

    batch_text_free(&d->whole);

    for (i = 0; i < d->nlines; i++) {
        free(d->lines[i].message.data);
    }

    free(d->lines);
    free(d->dups);

    ngx_memzero(d, sizeof(ngx_http_batch_defects_t));
}
