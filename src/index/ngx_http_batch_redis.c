/*
 * Copyright (C) the ngx_http_batch_module authors
 */

/*
 * Commands and scripts, and reading replies.
 */

#include "ngx_http_batch_link.h"
#include <ngx_sha1.h>


#define NGX_HTTP_BATCH_REDIS_PENDING      65536   /* commands */


static ngx_int_t ngx_http_batch_redis_send_script(
    ngx_http_batch_redis_op_t *op, ngx_uint_t argc, const ngx_str_t *argv);
static void ngx_http_batch_redis_reply(redisAsyncContext *ac, void *r,
    void *data);


void
ngx_http_batch_link_leave(const char *why)
{
    if (ngx_http_batch_link.state == NGX_HTTP_BATCH_LINK_READY) {
        ngx_http_batch_link_free(why);
    }
}


ngx_int_t
ngx_http_batch_redis_command(ngx_uint_t argc, const ngx_str_t *argv,
    ngx_http_batch_redis_pt cb, void *data)
{
    ngx_http_batch_redis_op_t  *op;

    if (ngx_http_batch_link.state != NGX_HTTP_BATCH_LINK_READY) {
        return NGX_ERROR;
    }

    op = ngx_http_batch_redis_op(0, NULL, cb, data);
    if (op == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_batch_redis_send(op, argc, argv);
}


ngx_int_t
ngx_http_batch_redis_eval(ngx_http_batch_script_t *script, ngx_uint_t nkeys,
    ngx_uint_t argc, const ngx_str_t *argv, ngx_http_batch_redis_pt cb,
    void *data)
{
    u_char                      digest[20];
    ngx_sha1_t                  sha1;
    ngx_http_batch_redis_op_t  *op;

    if (ngx_http_batch_link.state != NGX_HTTP_BATCH_LINK_READY) {
        return NGX_ERROR;
    }

    if (script->sha1[0] == '\0') {
        ngx_sha1_init(&sha1);
        ngx_sha1_update(&sha1, script->text, ngx_strlen(script->text));
        ngx_sha1_final(digest, &sha1);

        *ngx_hex_dump((u_char *) script->sha1, digest, 20) = '\0';
    }

    op = ngx_http_batch_redis_op(argc, argv, cb, data);
    if (op == NULL) {
        return NGX_ERROR;
    }

    op->script = script;
    op->nkeys = nkeys;

    return ngx_http_batch_redis_send_script(op, argc, argv);
}


const char *
ngx_http_batch_link_server(void)
{
    return ngx_http_batch_link.server;
}


ngx_int_t
ngx_http_batch_link_wait(ngx_http_batch_link_state_pt handler)
{
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    if (!link->first || link->state == NGX_HTTP_BATCH_LINK_READY
        || link->exiting)
    {
        return NGX_DECLINED;
    }

    /* it ends with this timer at the latest, a worker that quits awaits it */

    link->timer.cancelable = 0;
    link->waiting = handler;

    return NGX_OK;
}


void
ngx_http_batch_link_first(ngx_uint_t ready)
{
    ngx_http_batch_link_t          *link = &ngx_http_batch_link;
    ngx_http_batch_link_state_pt   waiting;

    waiting = link->waiting;

    link->first = 0;
    link->waiting = NULL;
    link->timer.cancelable = 1;

    if (waiting) {
        waiting(ready);
    }
}


ngx_http_batch_redis_op_t *
ngx_http_batch_redis_op(ngx_uint_t argc, const ngx_str_t *argv,
    ngx_http_batch_redis_pt cb, void *data)
{
    u_char                     *p;
    size_t                      size;
    ngx_uint_t                  i;
    ngx_http_batch_redis_op_t  *op;

    size = sizeof(ngx_http_batch_redis_op_t) + argc * sizeof(ngx_str_t);

    for (i = 0; i < argc; i++) {
        size += argv[i].len;
    }

    op = ngx_alloc(size, ngx_http_batch_link.log);
    if (op == NULL) {
        return NULL;
    }

    ngx_memzero(op, sizeof(ngx_http_batch_redis_op_t));

    op->cb = cb;
    op->data = data;
    op->argc = argc;
    op->argv = (ngx_str_t *) (op + 1);

    p = (u_char *) (op->argv + argc);

    for (i = 0; i < argc; i++) {
        op->argv[i].data = p;
        op->argv[i].len = argv[i].len;
        p = ngx_cpymem(p, argv[i].data, argv[i].len);
    }

    return op;
}


/* EVALSHA or, with op->text, EVAL; owns op as ngx_http_batch_redis_send() does */

static ngx_int_t
ngx_http_batch_redis_send_script(ngx_http_batch_redis_op_t *op,
    ngx_uint_t argc, const ngx_str_t *argv)
{
    u_char      buf[NGX_INT_T_LEN];
    ngx_int_t   rc;
    ngx_str_t  *av;

    av = ngx_alloc((argc + 3) * sizeof(ngx_str_t), ngx_http_batch_link.log);
    if (av == NULL) {
        ngx_free(op);
        return NGX_ERROR;
    }

    if (op->text) {
        ngx_str_set(&av[0], "EVAL");
        av[1].data = (u_char *) op->script->text;

    } else {
        ngx_str_set(&av[0], "EVALSHA");
        av[1].data = (u_char *) op->script->sha1;
    }

    av[1].len = ngx_strlen(av[1].data);
    av[2].data = buf;
    av[2].len = ngx_sprintf(buf, "%ui", op->nkeys) - buf;
    ngx_memcpy(&av[3], argv, argc * sizeof(ngx_str_t));

    rc = ngx_http_batch_redis_send(op, argc + 3, av);

    ngx_free(av);

    return rc;
}


ngx_int_t
ngx_http_batch_redis_send(ngx_http_batch_redis_op_t *op, ngx_uint_t argc,
    const ngx_str_t *argv)
{
    int                     rc;
    size_t                 *len;
    ngx_uint_t              i;
    const char            **arg;
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    if (link->ac == NULL || link->pending >= NGX_HTTP_BATCH_REDIS_PENDING) {
        ngx_free(op);
        return NGX_ERROR;
    }

    arg = ngx_alloc(argc * (sizeof(char *) + sizeof(size_t)), link->log);
    if (arg == NULL) {
        ngx_free(op);
        return NGX_ERROR;
    }

    len = (size_t *) (arg + argc);

    for (i = 0; i < argc; i++) {
        arg[i] = argv[i].len ? (const char *) argv[i].data : "";
        len[i] = argv[i].len;
    }

    rc = redisAsyncCommandArgv(link->ac, ngx_http_batch_redis_reply, op,
                               (int) argc, arg, len);
    ngx_free(arg);

    /* refused when hiredis is about to free the context */

    if (rc != REDIS_OK) {
        ngx_free(op);
        return NGX_ERROR;
    }

    op->sent = ngx_current_msec;
    ngx_queue_insert_tail(&link->ops, &op->queue);

    if (link->pending++ == 0) {
        link->heard = op->sent;
        ngx_add_timer(&link->overdue, link->conf->timeout);
    }

    return NGX_OK;
}


static void
ngx_http_batch_redis_reply(redisAsyncContext *ac, void *r, void *data)
{
    ngx_str_t                   text;
    redisReply                 *reply = r;
    ngx_http_batch_link_t      *link = &ngx_http_batch_link;
    ngx_http_batch_redis_op_t  *op = data;

    ngx_queue_remove(&op->queue);

    if (--link->pending == 0 && link->overdue.timer_set) {
        ngx_del_timer(&link->overdue);
    }

    /* the callback may send another command, for which the surplus would then
     * be taken */

    if (reply && link->pending == 0
        && ac->c.reader->pos < ac->c.reader->len)
    {
        ngx_http_batch_link_free(NGX_HTTP_BATCH_REDIS_UNASKED);
        op->cb(op->data, NULL);
        ngx_free(op);
        return;
    }

    if (!ngx_http_batch_reply_error(reply, &text)) {
        op->cb(op->data, reply);
        ngx_free(op);
        return;
    }

    if (op->script && !op->text && text.len > 8
        && ngx_strncmp(text.data, "NOSCRIPT", 8) == 0)
    {
        ngx_http_batch_redis_pt   cb = op->cb;
        void                     *cb_data = op->data;

        /* a failover or SCRIPT FLUSH has emptied the cache */

        op->text = 1;

        if (ngx_http_batch_redis_send_script(op, op->argc, op->argv)
            != NGX_OK)
        {
            cb(cb_data, NULL);
        }

        return;
    }

    op->cb(op->data, reply);

    /* the address belongs to another primary by now: connect again */

    if (!op->internal
        && link->ac == ac
        && ((text.len > 8 && ngx_strncmp(text.data, "READONLY", 8) == 0)
            || (text.len > 7 && ngx_strncmp(text.data, "LOADING", 7) == 0)))
    {
        ngx_http_batch_link_free(reply->str);
    }

    ngx_free(op);
}


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
