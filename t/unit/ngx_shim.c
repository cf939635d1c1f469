/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The few functions of nginx that the thread code of store/ and run/ calls, so
 * that it runs in a test without nginx.  Log lines are kept for the tests.
 */

#include "ngx_shim.h"

#include <pthread.h>


volatile ngx_cycle_t  *ngx_cycle;
ngx_uint_t             shim_quit;

static ngx_log_t        shim_log_object;
static pthread_mutex_t  shim_mutex = PTHREAD_MUTEX_INITIALIZER;
static u_char           shim_text[65536];
static size_t           shim_len;
static unsigned         shim_count[NGX_LOG_DEBUG + 1];


ngx_log_t *
shim_log(void)
{
    shim_log_object.log_level = NGX_LOG_DEBUG;

    return &shim_log_object;
}


void
shim_log_reset(void)
{
    pthread_mutex_lock(&shim_mutex);
    shim_len = 0;
    shim_text[0] = '\0';
    memset(shim_count, 0, sizeof(shim_count));
    pthread_mutex_unlock(&shim_mutex);
}


unsigned
shim_logged(ngx_uint_t level)
{
    return shim_count[level];
}


const char *
shim_log_text(void)
{
    return (const char *) shim_text;
}


static void
shim_log_add(ngx_uint_t level, ngx_err_t err, const char *fmt, va_list args)
{
    u_char  *p, *last;

    pthread_mutex_lock(&shim_mutex);

    shim_count[level]++;

    if (shim_len < sizeof(shim_text) - 2048) {
        p = shim_text + shim_len;
        last = shim_text + sizeof(shim_text) - 2;

        p = ngx_vslprintf(p, last, fmt, args);

        if (err) {
            p = ngx_slprintf(p, last, " (%d: %s)", err, strerror(err));
        }

        *p++ = '\n';
        *p = '\0';

        if (getenv("SHIM_LOG")) {
            fputs((char *) shim_text + shim_len, stderr);
        }

        shim_len = p - shim_text;
    }

    pthread_mutex_unlock(&shim_mutex);
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    shim_log_add(level, err, fmt, args);
    va_end(args);
}


void ngx_cdecl
ngx_conf_log_error(ngx_uint_t level, ngx_conf_t *cf, ngx_err_t err,
    const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    shim_log_add(level, err, fmt, args);
    va_end(args);
}


void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    return malloc(size);
}


void *
ngx_calloc(size_t size, ngx_log_t *log)
{
    return calloc(1, size);
}


ngx_uint_t
ngx_http_batch_task_quit(void)
{
    return shim_quit;
}


/* tenants' keys are not looked at here */

void
ngx_sha1_init(ngx_sha1_t *ctx)
{
    memset(ctx, 0, sizeof(ngx_sha1_t));
}


void
ngx_sha1_update(ngx_sha1_t *ctx, const void *data, size_t size)
{
}


void
ngx_sha1_final(u_char result[20], ngx_sha1_t *ctx)
{
    memset(result, 0, 20);
}


u_char *
ngx_hex_dump(u_char *dst, u_char *src, size_t len)
{
    while (len--) {
        dst += sprintf((char *) dst, "%02x", *src++);
    }

    return dst;
}


u_char * ngx_cdecl
ngx_sprintf(u_char *buf, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, (void *) -1, fmt, args);
    va_end(args);

    return p;
}


u_char * ngx_cdecl
ngx_slprintf(u_char *buf, u_char *last, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, last, fmt, args);
    va_end(args);

    return p;
}


static u_char *
shim_copy(u_char *buf, u_char *last, const void *src, size_t len)
{
    if (len > (size_t) (last - buf)) {
        len = last - buf;
    }

    memcpy(buf, src, len);

    return buf + len;
}


/* the formats that the module uses, as nginx writes them */

u_char *
ngx_vslprintf(u_char *buf, u_char *last, const char *fmt, va_list args)
{
    int          n, width, unsign, hex;
    char         text[32];
    size_t       len;
    int64_t      i;
    ngx_str_t   *v;
    const char  *s;

    for ( /* void */ ; *fmt && buf < last; fmt++) {

        if (*fmt != '%') {
            *buf++ = *fmt;
            continue;
        }

        width = 0;
        unsign = 0;
        hex = 0;
        len = (size_t) -1;

        for (fmt++; *fmt >= '0' && *fmt <= '9'; fmt++) {
            width = width * 10 + (*fmt - '0');
        }

        for ( ;; fmt++) {
            if (*fmt == 'u') {
                unsign = 1;
            } else if (*fmt == 'x') {
                unsign = 1;
                hex = 1;
            } else if (*fmt == '*') {
                len = va_arg(args, size_t);
            } else {
                break;
            }
        }

        switch (*fmt) {

        case 'V':
            v = va_arg(args, ngx_str_t *);
            buf = shim_copy(buf, last, v->data, v->len);
            continue;

        case 's':
            s = va_arg(args, const char *);
            buf = shim_copy(buf, last, s,
                            len == (size_t) -1 ? strlen(s) : len);
            continue;

        case 'Z':
            *buf++ = '\0';
            continue;

        case '%':
            *buf++ = '%';
            continue;

        case 'O':
        case 'L':
        case 'T':
            i = va_arg(args, int64_t);
            break;

        case 'z':
        case 'i':
        case 'l':
            i = va_arg(args, long);
            break;

        case 'd':
            n = va_arg(args, int);
            i = unsign ? (int64_t) (unsigned) n : n;
            break;

        case 'D':
            n = va_arg(args, int);
            i = unsign ? (int64_t) (uint32_t) n : n;
            break;

        default:
            fprintf(stderr, "shim: unknown format %%%c\n", *fmt);
            abort();
        }

        n = snprintf(text, sizeof(text),
                     hex ? "%0*llx" : unsign ? "%0*llu" : "%0*lld",
                     width, (long long) i);

        buf = shim_copy(buf, last, text, n);
    }

    return buf;
}
