/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Directives, and the check of the whole configuration.
 */

#ifndef _NGX_HTTP_BATCH_CONF_H_INCLUDED_
#define _NGX_HTTP_BATCH_CONF_H_INCLUDED_

#include "ngx_http_batch.h"

char *ngx_http_batch_conf_set_api(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_conf_set_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_conf_set_store(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_conf_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_conf_set_pass(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_conf_set_endpoints(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_conf_line_size(ngx_conf_t *cf, void *post, void *data);
char *ngx_http_batch_conf_set_windows(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_conf_client_cors(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_conf_client_body_rate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_conf_client_quota(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_conf_hook(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_conf_job(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* "24h", "unlimited"; w->name points to value.  NGX_ERROR: not a window */
ngx_int_t ngx_http_batch_conf_window(ngx_str_t *value,
    ngx_http_batch_window_t *w);

/* 1, with the value, if the argument begins with the name: "db=" */
ngx_uint_t ngx_http_batch_conf_option(const ngx_str_t *arg, const char *name,
    ngx_str_t *value);

/* reads the only line of a file that an option names; directive and option are
 * for messages */
char *ngx_http_batch_conf_file(ngx_conf_t *cf, const char *directive,
    const char *option, ngx_str_t *file, ngx_str_t *line);

/* sets the defaults that depend on the dialect */
void ngx_http_batch_conf_defaults(ngx_http_batch_loc_conf_t *conf);

/* what the route's batch_tenant is made of */
ngx_int_t ngx_http_batch_conf_tenant(ngx_conf_t *cf,
    ngx_http_batch_loc_conf_t *blcf);

/* gives the route its key, and checks that its batch_pass leads somewhere */
ngx_int_t ngx_http_batch_conf_route_check(ngx_conf_t *cf,
    ngx_http_batch_main_conf_t *bmcf, ngx_uint_t n);

/* after that of all routes: warns of what leads from one into the API */
void ngx_http_batch_conf_error_pages(ngx_conf_t *cf,
    ngx_http_batch_main_conf_t *bmcf, ngx_uint_t n);

/* after all merging: checks the whole, gives routes their keys */
ngx_int_t ngx_http_batch_conf_check(ngx_conf_t *cf,
    ngx_http_batch_main_conf_t *bmcf);

/* creates the directories of the store */
ngx_int_t ngx_http_batch_conf_store(ngx_cycle_t *cycle,
    ngx_http_batch_main_conf_t *bmcf);

#endif /* _NGX_HTTP_BATCH_CONF_H_INCLUDED_ */
