/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Commands and scripts, from the moment they are sent to their answer.
 */

#include "ngx_http_batch_link_int.h"
#include <ngx_sha1.h>


#define NGX_HTTP_BATCH_REDIS_PENDING      65536   /* commands */


static ngx_int_t ngx_http_batch_redis_send_script(
    ngx_http_batch_redis_op_t *op, ngx_uint_t argc, const ngx_str_t *argv);
static void ngx_http_batch_redis_reply(redisAsyncContext *ac, void *r,
    void *data);


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


/* EVALSHA or, with op->text, EVAL; owns op as redis_send() does */

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

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, link->log, 0,
                   "batch: redis: %V %s sent, %ui pending", &argv[0],
                   op->script ? op->script->name : "", link->pending);

    return NGX_OK;
}


static void
ngx_http_batch_redis_reply(redisAsyncContext *ac, void *r, void *data)
{
    ngx_str_t                   text;
    redisReply                 *reply = r;
    ngx_http_batch_link_t      *link = &ngx_http_batch_link;
    ngx_http_batch_redis_op_t  *op = data;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, link->log, 0,
                   "batch: redis: %s answered after %M ms, type %i",
                   op->script ? op->script->name : "command",
                   ngx_current_msec - op->sent,
                   (ngx_int_t) (reply ? reply->type : 0));

    ngx_queue_remove(&op->queue);

    if (--link->pending == 0 && link->overdue.timer_set) {
        ngx_del_timer(&link->overdue);
    }

    /* the callback may send another command, for which the surplus would then
     * be taken */

    if (reply && link->pending == 0
        && ac->c.reader->pos < ac->c.reader->len)
    {
        ngx_http_batch_link_free(NGX_HTTP_BATCH_LINK_UNASKED);
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

        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, link->log, 0,
                       "batch: redis: %s is not known there, sending its text",
                       op->script->name);

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
