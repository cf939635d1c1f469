/*
 * Directive setters and the checks of the whole configuration.
 */

#ifndef _NGX_HTTP_BATCH_CONF_H_INCLUDED_
#define _NGX_HTTP_BATCH_CONF_H_INCLUDED_

#include "ngx_http_batch.h"

char *ngx_http_batch_set_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_batch_set_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_set_store(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_set_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_set_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_batch_set_endpoints(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_set_windows(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_set_cors(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_batch_set_body_rate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_set_quota(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_set_webhook(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_batch_set_job(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* "24h", "unlimited"; w->name is value itself.  NGX_ERROR: it is none */
ngx_int_t ngx_http_batch_window(ngx_str_t *value, ngx_http_batch_window_t *w);

/* the one line that the file of the option "<what>_file" holds; both names are
 * for messages */
char *ngx_http_batch_conf_file(ngx_conf_t *cf, const char *directive,
    const char *option, ngx_str_t *file, ngx_str_t *line);

/* what nobody has set, by the dialect */
char *ngx_http_batch_conf_defaults(ngx_conf_t *cf,
    ngx_http_batch_loc_conf_t *conf);

/* the route gets its key; batch_pass must lead somewhere */
ngx_int_t ngx_http_batch_route_check(ngx_conf_t *cf,
    ngx_http_batch_main_conf_t *bmcf, ngx_uint_t n);

/* pass, whose directive is named for messages, leads from the route's server to
 * a location for lines, whatever the endpoint */
ngx_int_t ngx_http_batch_pass_check(ngx_conf_t *cf,
    ngx_http_batch_loc_conf_t *blcf, ngx_str_t *pass, const char *directive);

/* after all merging: routes get their keys, batch_pass its location */
ngx_int_t ngx_http_batch_conf_check(ngx_conf_t *cf,
    ngx_http_batch_main_conf_t *bmcf);

/* the store gets its directories */
ngx_int_t ngx_http_batch_conf_store(ngx_cycle_t *cycle,
    ngx_http_batch_main_conf_t *bmcf);

#endif /* _NGX_HTTP_BATCH_CONF_H_INCLUDED_ */
