/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Reading replies of Redis: what is not there or of another type is nothing, or
 * zero, so that a reply of any shape can be looked through.
 */

#include "ngx_http_batch_reply.h"
#include <hiredis/hiredis.h>


ngx_uint_t
ngx_http_batch_reply_error(struct redisReply *r, ngx_str_t *text)
{
    if (r == NULL || r->type != REDIS_REPLY_ERROR) {
        return 0;
    }

    text->data = (u_char *) r->str;
    text->len = (size_t) r->len;

    return 1;
}


ngx_uint_t
ngx_http_batch_reply_list(struct redisReply *r)
{
    return r != NULL && r->type == REDIS_REPLY_ARRAY;
}


size_t
ngx_http_batch_reply_n(struct redisReply *r)
{
    return ngx_http_batch_reply_list(r) ? (size_t) r->elements : 0;
}


struct redisReply *
ngx_http_batch_reply_at(struct redisReply *r, size_t i)
{
    return i < ngx_http_batch_reply_n(r) ? r->element[i] : NULL;
}


ngx_uint_t
ngx_http_batch_reply_str(struct redisReply *r, ngx_str_t *s)
{
    ngx_str_null(s);

    if (r == NULL) {
        return 0;
    }

    switch (r->type) {

    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
        s->data = (u_char *) r->str;
        s->len = (size_t) r->len;
        return 1;

    case REDIS_REPLY_INTEGER:
        return 1;

    default:
        return 0;
    }
}


int64_t
ngx_http_batch_reply_int(struct redisReply *r)
{
    size_t   i;
    int64_t  n, sign;

    if (r == NULL) {
        return 0;
    }

    if (r->type == REDIS_REPLY_INTEGER) {
        return (int64_t) r->integer;
    }

    if (r->type != REDIS_REPLY_STRING || r->len == 0 || r->len > 19) {
        return 0;
    }

    n = 0;
    sign = 1;
    i = 0;

    if (r->str[0] == '-' && r->len > 1) {
        sign = -1;
        i = 1;
    }

    for ( /* void */ ; i < (size_t) r->len; i++) {
        if (r->str[i] < '0' || r->str[i] > '9'
            || n > (INT64_MAX - (r->str[i] - '0')) / 10)
        {
            return 0;
        }

        n = n * 10 + (r->str[i] - '0');
    }

    return n * sign;
}


int64_t
ngx_http_batch_reply_code(struct redisReply *r)
{
    return (r != NULL && r->type == REDIS_REPLY_INTEGER) ? r->integer : -1;
}
