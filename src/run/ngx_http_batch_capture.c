/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Filters that take a line's answer instead of sending it anywhere, and the
 * variables of the line for the location that it runs through.
 *
 * The line is found by the main request's context: the subrequest's own is
 * wiped by internal redirects.  Filters that nginx runs after ours (headers,
 * charset, gunzip, postpone, write) never see these answers.
 */

#include "ngx_http_batch_run.h"
#include "ngx_http_batch_hook.h"


static ngx_int_t ngx_http_batch_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_batch_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_batch_body_take(ngx_http_batch_line_t *line,
    ngx_http_request_t *r, ngx_buf_t *b);
static ngx_int_t ngx_http_batch_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_batch_variable_hook(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_batch_variable_token(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, batch_str_t *token);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


enum {
    NGX_HTTP_BATCH_VAR_ID = 0,
    NGX_HTTP_BATCH_VAR_CUSTOM_ID,
    NGX_HTTP_BATCH_VAR_LINE,
    NGX_HTTP_BATCH_VAR_ATTEMPT,
    NGX_HTTP_BATCH_VAR_TENANT,
    NGX_HTTP_BATCH_VAR_JOB,
    NGX_HTTP_BATCH_VAR_MODEL
};


static ngx_http_variable_t  ngx_http_batch_vars[] = {

    { ngx_string("batch_id"), NULL, ngx_http_batch_variable,
      NGX_HTTP_BATCH_VAR_ID, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("batch_custom_id"), NULL, ngx_http_batch_variable,
      NGX_HTTP_BATCH_VAR_CUSTOM_ID, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("batch_line"), NULL, ngx_http_batch_variable,
      NGX_HTTP_BATCH_VAR_LINE, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("batch_attempt"), NULL, ngx_http_batch_variable,
      NGX_HTTP_BATCH_VAR_ATTEMPT, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("batch_tenant"), NULL, ngx_http_batch_variable,
      NGX_HTTP_BATCH_VAR_TENANT, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("batch_job"), NULL, ngx_http_batch_variable,
      NGX_HTTP_BATCH_VAR_JOB, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("batch_model"), NULL, ngx_http_batch_variable,
      NGX_HTTP_BATCH_VAR_MODEL, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_batch_line_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_batch_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_batch_body_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_header_filter(ngx_http_request_t *r)
{
    ngx_http_batch_line_t  *line;

    line = ngx_http_batch_line_of(r);

    if (line == NULL) {
        return ngx_http_next_header_filter(r);
    }

    r->header_sent = 1;
    r->filter_need_in_memory = 1;

    if (r != line->at.sr) {
        /* a subrequest of the location's own (addition, ssi) */
        return NGX_OK;
    }

    if (ngx_http_batch_answer_header(line, r) != NGX_OK) {
        return NGX_ERROR;
    }

    /*
     * Did nginx make this answer itself?  After an rc >= 300 the page has that
     * status, unless error_page has led to another answer; and the upstream,
     * if there was one, has not said it.  It may have said another one, and
     * then a header that nginx could not take.
     */

    if (line->made) {

        if (line->status == (ngx_uint_t) line->made
            && (r->upstream == NULL
                || r->upstream->headers_in.status_n
                   != (ngx_uint_t) line->made))
        {
            line->rc = line->made;
            line->garbled = (r->upstream && r->upstream->state
                             && r->upstream->state->bytes_received > 0);

        } else {
            line->made = 0;
        }
    }

    return NGX_OK;
}


/*
 * Is the disk slower than the upstream, nginx is made to stop reading.  With
 * buffers (ngx_event_pipe) it then passes on nothing more than these hold.
 * Without them (proxy_buffering off) it reads on as long as what it passed on
 * is taken, so it is left where it is, and comes again when the disk has caught
 * up.
 */

static ngx_int_t
ngx_http_batch_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t            *cl;
    ngx_http_batch_line_t  *line;

    line = ngx_http_batch_line_of(r);

    if (line == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    if (r == line->at.sr && r->upstream && !r->upstream->buffering) {

        if (ngx_chain_add_copy(r->pool, &line->at.held, in) != NGX_OK) {
            return NGX_ERROR;
        }

        while (line->at.held) {

            if (ngx_http_batch_spool_full(line->spool)) {
                ngx_http_batch_attempt_hold(&line->at);
                return NGX_AGAIN;
            }

            cl = line->at.held;
            line->at.held = cl->next;

            if (ngx_http_batch_body_take(line, r, cl->buf) != NGX_OK) {
                return NGX_ERROR;
            }

            ngx_free_chain(r->pool, cl);
        }

        return NGX_OK;
    }

    for (cl = in; cl; cl = cl->next) {
        if (ngx_http_batch_body_take(line, r, cl->buf) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (r == line->at.sr && ngx_http_batch_spool_full(line->spool)) {
        ngx_http_batch_attempt_hold(&line->at);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_body_take(ngx_http_batch_line_t *line, ngx_http_request_t *r,
    ngx_buf_t *b)
{
    if (ngx_buf_in_memory(b)) {

        if (r == line->at.sr && b->last > b->pos
            && ngx_http_batch_answer_body(line, b->pos, b->last - b->pos)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        b->pos = b->last;
    }

    if (b->in_file) {
        b->file_pos = b->file_last;
    }

    if (r == line->at.sr && (b->last_buf || b->last_in_chain)) {
        line->last = 1;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_batch_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    u_char                 *p;
    ngx_str_t               s;
    ngx_http_batch_run_t   *run;
    ngx_http_batch_line_t  *line;

    line = ngx_http_batch_line_of(r);

    if (line == NULL || line->chunk == NULL) {
        return ngx_http_batch_variable_hook(r, v, data);
    }

    run = line->chunk->run;

    switch (data) {

    case NGX_HTTP_BATCH_VAR_ID:
        s.data = (u_char *) run->id;
        s.len = ngx_strlen(run->id);
        break;

    case NGX_HTTP_BATCH_VAR_CUSTOM_ID:
        return ngx_http_batch_variable_token(r, v, &line->parsed.custom_id);

    case NGX_HTTP_BATCH_VAR_MODEL:

        if (line->parsed.model.len || run->meta.model.len == 0) {
            return ngx_http_batch_variable_token(r, v, &line->parsed.model);
        }

        s = run->meta.model;
        break;

    case NGX_HTTP_BATCH_VAR_TENANT:
        s = run->meta.tenant;
        break;

    case NGX_HTTP_BATCH_VAR_JOB:
        s = run->meta.job_id;
        break;

    default: /* LINE, ATTEMPT */

        p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
        if (p == NULL) {
            return NGX_ERROR;
        }

        s.data = p;
        s.len = ngx_sprintf(p, "%uL", data == NGX_HTTP_BATCH_VAR_LINE
                                      ? line->number
                                      : (uint64_t) line->attempt)
                - p;
    }

    v->len = s.len;
    v->data = s.data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_variable_hook(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t  id, tenant;

    if ((data != NGX_HTTP_BATCH_VAR_ID && data != NGX_HTTP_BATCH_VAR_TENANT)
        || ngx_http_batch_hook_names(r, &id, &tenant) != NGX_OK)
    {
        v->not_found = 1;
        return NGX_OK;
    }

    if (data == NGX_HTTP_BATCH_VAR_TENANT) {
        id = tenant;
    }

    v->len = id.len;
    v->data = id.data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/*
 * A client's string may become a header of the upstream request: what could end
 * a header line, or is no printable ASCII, is written as %XX, and it is cut.
 */

static ngx_int_t
ngx_http_batch_variable_token(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, batch_str_t *token)
{
    size_t          i, len;
    u_char          buf[BATCH_CUSTOM_ID_MAX], *p;
    static u_char   hex[] = "0123456789ABCDEF";

    if (token->len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    len = batch_token_decode(token, buf, sizeof(buf));
    len = ngx_min(len, sizeof(buf));

    p = ngx_pnalloc(r->pool, len * 3);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->data = p;

    for (i = 0; i < len; i++) {

        if (buf[i] > 0x20 && buf[i] < 0x7f && buf[i] != '%') {
            *p++ = buf[i];
            continue;
        }

        *p++ = '%';
        *p++ = hex[buf[i] >> 4];
        *p++ = hex[buf[i] & 0xf];
    }

    v->len = p - v->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
