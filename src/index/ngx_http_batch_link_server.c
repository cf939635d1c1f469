/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The server at the other end of the link: letting us in, which one it is, and
 * whether its settings may lose data.
 */

#include "ngx_http_batch_link_int.h"
#include "ngx_http_batch_slots.h"

#include <ctype.h>


/* what has been logged once */
#define NGX_HTTP_BATCH_LINK_EVICTS   1
#define NGX_HTTP_BATCH_LINK_NO_AOF   2
#define NGX_HTTP_BATCH_LINK_NO_NAME  4


static ngx_int_t ngx_http_batch_link_server_send(ngx_uint_t argc,
    const ngx_str_t *argv, ngx_http_batch_redis_pt cb, void *data);
static void ngx_http_batch_link_server_answered(void *data,
    struct redisReply *reply);
static void ngx_http_batch_link_server_told(void *data,
    struct redisReply *reply);
static ngx_uint_t ngx_http_batch_link_server_forbids(ngx_str_t *error);
static ngx_int_t ngx_http_batch_link_server_name(struct redisReply *reply,
    char name[NGX_HTTP_BATCH_LINK_NAME]);
static void ngx_http_batch_link_server_settings(void *data,
    struct redisReply *reply);
static void ngx_http_batch_link_server_policy(ngx_str_t *info);
static u_char *ngx_http_batch_link_server_find(ngx_str_t *info,
    const char *name);


static ngx_str_t  ngx_http_batch_link_server_info[] = {
    ngx_string("INFO"),
    ngx_string("replication")
};


const char *
ngx_http_batch_link_server(void)
{
    return ngx_http_batch_link.server;
}


ngx_int_t
ngx_http_batch_link_server_setup(void)
{
    u_char                        buf[NGX_INT_T_LEN];
    ngx_str_t                     argv[3];
    ngx_uint_t                    argc;
    ngx_http_batch_redis_conf_t  *conf = ngx_http_batch_link.conf;

    if (conf->password.len) {
        argc = 0;
        ngx_str_set(&argv[argc], "AUTH");
        argc++;

        if (conf->user.len) {
            argv[argc++] = conf->user;
        }

        argv[argc++] = conf->password;

        if (ngx_http_batch_link_server_send(argc, argv,
                                ngx_http_batch_link_server_answered, NULL)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (conf->db) {
        ngx_str_set(&argv[0], "SELECT");
        argv[1].data = buf;
        argv[1].len = ngx_sprintf(buf, "%ui", conf->db) - buf;

        if (ngx_http_batch_link_server_send(2, argv,
                                ngx_http_batch_link_server_answered, NULL)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (ngx_http_batch_link_server_send(2, ngx_http_batch_link_server_info,
                                        ngx_http_batch_link_server_told, NULL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /*
     * PING is the last: without a password only it tells that one is wanted,
     * and that the server is still loading its data
     */

    ngx_str_set(&argv[0], "PING");

    return ngx_http_batch_link_server_send(1, argv,
                       ngx_http_batch_link_server_answered, (void *) 1);
}


static ngx_int_t
ngx_http_batch_link_server_send(ngx_uint_t argc, const ngx_str_t *argv,
    ngx_http_batch_redis_pt cb, void *data)
{
    ngx_http_batch_redis_op_t  *op;

    op = ngx_http_batch_redis_op(0, NULL, cb, data);
    if (op == NULL) {
        return NGX_ERROR;
    }

    op->internal = 1;

    return ngx_http_batch_redis_send(op, argc, argv);
}


static void
ngx_http_batch_link_server_answered(void *data, struct redisReply *reply)
{
    ngx_str_t   text;
    ngx_uint_t  last = (uintptr_t) data;

    if (reply == NULL
        || ngx_http_batch_link.state != NGX_HTTP_BATCH_LINK_SETUP)
    {
        return;
    }

    if (ngx_http_batch_reply_error(reply, &text)) {
        ngx_http_batch_link_free(reply->str);
        return;
    }

    if (last) {
        ngx_http_batch_link_ready();
    }
}


void
ngx_http_batch_link_server_look(void)
{
    if (ngx_http_batch_link.state != NGX_HTTP_BATCH_LINK_READY) {
        return;
    }

    (void) ngx_http_batch_link_server_send(2, ngx_http_batch_link_server_info,
                                        ngx_http_batch_link_server_told, NULL);
}


static void
ngx_http_batch_link_server_told(void *data, struct redisReply *reply)
{
    char                    name[NGX_HTTP_BATCH_LINK_NAME];
    ngx_str_t               text;
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    if (reply == NULL || link->state < NGX_HTTP_BATCH_LINK_SETUP) {
        return;
    }

    if (link->state == NGX_HTTP_BATCH_LINK_SETUP
        && ngx_http_batch_reply_error(reply, &text)
        && !ngx_http_batch_link_server_forbids(&text))
    {
        /* it does not let us in, for another reason than this command */

        ngx_http_batch_link_free(reply->str);
        return;
    }

    if (ngx_http_batch_link_server_name(reply, name) != NGX_OK) {

        /* what a replica knows may be old, and it takes no writes */

        ngx_http_batch_link_free("the server is a replica");
        return;
    }

    if (ngx_strcmp(link->server, name) == 0) {
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, link->log, 0,
                   "batch: redis server is %s, was \"%s\"", name,
                   link->server);

    (void) ngx_cpystrn((u_char *) link->server, (u_char *) name,
                       NGX_HTTP_BATCH_LINK_NAME);

    if (link->state == NGX_HTTP_BATCH_LINK_READY && link->on_state) {
        link->on_state(1);
    }
}


/* an access list, or a "rename-command", keeps one command from us */

static ngx_uint_t
ngx_http_batch_link_server_forbids(ngx_str_t *error)
{
    return ngx_strncmp(error->data, "NOPERM", sizeof("NOPERM") - 1) == 0
           || ngx_strncmp(error->data, "ERR unknown command",
                          sizeof("ERR unknown command") - 1) == 0;
}


/* NGX_DECLINED: a replica */

static ngx_int_t
ngx_http_batch_link_server_name(struct redisReply *reply,
    char name[NGX_HTTP_BATCH_LINK_NAME])
{
    u_char                 *p, *last;
    size_t                  n;
    ngx_str_t               info;
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    (void) ngx_cpystrn((u_char *) name, (u_char *) "unknown",
                       NGX_HTTP_BATCH_LINK_NAME);

    p = NULL;

    if (ngx_http_batch_reply_str(reply, &info)) {

        if (ngx_http_batch_link_server_find(&info, "role:slave")) {
            return NGX_DECLINED;
        }

        p = ngx_http_batch_link_server_find(&info, "master_replid:");
    }

    if (p == NULL) {

        if (!(link->warned & NGX_HTTP_BATCH_LINK_NO_NAME)) {
            link->warned |= NGX_HTTP_BATCH_LINK_NO_NAME;
            ngx_log_error(NGX_LOG_ERR, link->log, 0,
                          "batch: redis %V does not answer \"INFO "
                          "replication\", so it will not be noticed when it "
                          "has lost its latest data", &link->conf->address);
        }

        return NGX_OK;
    }

    last = info.data + info.len;

    for (n = 0;
         n < NGX_HTTP_BATCH_LINK_NAME - 1 && p < last && isalnum(*p);
         n++)
    {
        name[n] = *p++;
    }

    name[n] = '\0';

    return NGX_OK;
}


void
ngx_http_batch_link_server_advise(void)
{
    (void) ngx_http_batch_redis_command(1, ngx_http_batch_link_server_info,
                                ngx_http_batch_link_server_settings, NULL);
}


static void
ngx_http_batch_link_server_settings(void *data, struct redisReply *reply)
{
    ngx_str_t               info, *address;
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    /* an access list may forbid INFO: then there is nothing to say */

    if (!ngx_http_batch_reply_str(reply, &info)) {
        return;
    }

    if (!(link->warned & NGX_HTTP_BATCH_LINK_EVICTS)) {
        ngx_http_batch_link_server_policy(&info);
    }

    if (!(link->warned & NGX_HTTP_BATCH_LINK_NO_AOF)
        && ngx_http_batch_link_server_find(&info, "aof_enabled:0"))
    {
        link->warned |= NGX_HTTP_BATCH_LINK_NO_AOF;

        /* Debian's Redis as installed: advice, once, not at each reload */

        address = &link->conf->address;

        if (ngx_http_batch_slots_advise(ngx_crc32_short(address->data,
                                                        address->len)))
        {
            ngx_log_error(NGX_LOG_WARN, link->log, 0,
                          "batch: redis %V keeps no append-only file, so "
                          "after its restart the API answers 503 until the "
                          "index is rebuilt from disk; run "
                          "\"redis-cli config set appendonly yes\" and "
                          "\"redis-cli config rewrite\"", address);
        }
    }
}


static void
ngx_http_batch_link_server_policy(ngx_str_t *info)
{
    u_char                 *p, *last;
    ngx_str_t               policy;
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    policy.data = ngx_http_batch_link_server_find(info, "maxmemory_policy:");
    if (policy.data == NULL) {
        return;
    }

    last = info->data + info->len;

    for (p = policy.data; p < last && *p > ' '; p++) { /* void */ }

    policy.len = p - policy.data;

    if (policy.len == sizeof("noeviction") - 1
        && ngx_strncmp(policy.data, "noeviction", policy.len) == 0)
    {
        return;
    }

    link->warned |= NGX_HTTP_BATCH_LINK_EVICTS;
    ngx_log_error(NGX_LOG_ERR, link->log, 0,
                  "batch: redis %V may evict keys of running batches "
                  "(maxmemory-policy %V), set \"maxmemory-policy noeviction\" "
                  "in its configuration",
                  &link->conf->address, &policy);
}


/* what follows the name, or NULL */

static u_char *
ngx_http_batch_link_server_find(ngx_str_t *info, const char *name)
{
    u_char  *p;
    size_t   len;

    len = ngx_strlen(name);
    p = ngx_strlcasestrn(info->data, info->data + info->len, (u_char *) name,
                         len - 1);

    return p ? p + len : NULL;
}
