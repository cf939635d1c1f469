/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "store_help.h"
#include "ngx_http_batch_lookup.h"
#include "batch_crc32c.h"

#include <dirent.h>


int64_t     help_now = 1700000000LL * 1000000;
ngx_str_t   help_dir;
ngx_http_batch_loc_conf_t  help_route = { .max_line_size = HELP_LINE_SIZE };


#define need(cond)                                                            \
    do {                                                                      \
        if (!(cond)) {                                                        \
            fprintf(stderr, "%s:%d: %s\n%s", __FILE__, __LINE__, #cond,       \
                    shim_log_text());                                         \
            exit(2);                                                          \
        }                                                                     \
    } while (0)


static int64_t
help_clock(void)
{
    return help_now;
}


ngx_int_t
help_prepare(ngx_str_t *path, ngx_uid_t uid)
{
    ngx_conf_t  cf;

    memset(&cf, 0, sizeof(cf));
    cf.log = shim_log();

    return ngx_http_batch_prepare_store(&cf, path, uid);
}


/* instead of the configuration's */

ngx_http_batch_loc_conf_t *
ngx_http_batch_lookup_route(const ngx_str_t *key, ngx_uint_t *n)
{
    *n = 0;

    return &help_route;
}


void
help_store(const char *dir)
{
    batch_clock = help_clock;

    help_dir.data = (u_char *) realpath(dir, NULL);

    if (help_dir.data == NULL) {
        need(mkdir(dir, 0700) == 0);
        help_dir.data = (u_char *) realpath(dir, NULL);
    }

    need(help_dir.data);
    help_dir.len = strlen((char *) help_dir.data);

    need(help_prepare(&help_dir, geteuid()) == NGX_OK);
    need(ngx_http_batch_layout_open(&help_dir, shim_log()) == NGX_OK);
}


void
help_file(char id[BATCH_ID_LEN], const char *tenant, const char *purpose,
    int64_t expires_at, const void *data, size_t len)
{
    ngx_str_t              text;
    ngx_http_batch_file_t  f;

    memset(&f, 0, sizeof(f));

    need(batch_id_make(BATCH_ID_FILE, f.id));
    strcpy(id, f.id);

    f.tenant.data = (u_char *) tenant;
    f.tenant.len = strlen(tenant);
    f.purpose.data = (u_char *) purpose;
    f.purpose.len = strlen(purpose);
    ngx_str_set(&f.filename, "in.jsonl");
    f.bytes = len;
    f.created_us = help_now;
    f.expires_at = expires_at;

    need(ngx_http_batch_publish_object(NGX_HTTP_BATCH_BLOB, id, data, len,
                                      shim_log()) == NGX_OK);
    text = ngx_http_batch_file_encode(&f);
    need(text.data);
    need(ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE, id, text.data,
                                      text.len, shim_log()) == NGX_OK);
    free(text.data);
}


void
help_batch(char id[BATCH_ID_LEN], const char *tenant, const char *input,
    const char *endpoint, const char *job_id)
{
    ngx_str_t              text;
    ngx_http_batch_meta_t  m;

    memset(&m, 0, sizeof(m));

    need(batch_id_make(BATCH_ID_BATCH, m.id));
    strcpy(id, m.id);

    m.tenant.data = (u_char *) tenant;
    m.tenant.len = strlen(tenant);
    ngx_str_set(&m.route, "s/l");
    m.input_file_id.data = (u_char *) input;
    m.input_file_id.len = strlen(input);
    m.endpoint.data = (u_char *) endpoint;
    m.endpoint.len = strlen(endpoint);
    ngx_str_set(&m.window, "24h");
    m.created_us = help_now;
    m.expires_at = help_now / 1000000 + 86400;
    m.job_id.data = (u_char *) job_id;
    m.job_id.len = strlen(job_id);

    text = ngx_http_batch_meta_encode(&m);
    need(text.data);
    need(ngx_http_batch_publish_object(NGX_HTTP_BATCH_META, id, text.data,
                                      text.len, shim_log()) == NGX_OK);
    free(text.data);
}


char *
help_lines(unsigned from, unsigned n, size_t *len)
{
    char      *text, *p;
    unsigned   i;

    p = text = malloc(n * 160 + 1);
    need(p);

    for (i = from; i < from + n; i++) {
        p += sprintf(p, "{\"custom_id\":\"id%u\",\"method\":\"POST\","
                     "\"url\":\"/v1/chat/completions\",\"body\":{\"model\":"
                     "\"m\",\"messages\":[]}}\n", i);
    }

    *p = '\0';
    *len = p - text;

    return text;
}


batch_pick_t
help_record(ngx_fd_t fd, off_t *off, const char *id, uint32_t chunk,
    uint32_t epoch, uint64_t line, uint16_t kind, const char *payload)
{
    u_char          header[BATCH_RECORD_HEADER];
    batch_pick_t    pick;
    batch_record_t  r;

    memset(&r, 0, sizeof(r));
    memset(&pick, 0, sizeof(pick));

    r.line = line;
    r.len = strlen(payload);
    r.crc = batch_crc32c(0, payload, r.len);
    r.kind = kind;
    r.status = (kind == BATCH_KIND_OUTPUT) ? 200 : 400;
    r.usage.input = 3;
    r.usage.output = 5;
    r.usage.total = 8;
    r.tag = batch_record_tag(id, chunk, epoch);
    r.base = *off;

    batch_record_encode(&r, header);

    need(ngx_http_batch_store_write(fd, header, sizeof(header), *off,
                                    shim_log()) == NGX_OK);
    need(ngx_http_batch_store_write(fd, payload, r.len,
                                    *off + sizeof(header), shim_log())
         == NGX_OK);

    pick.line = line;
    pick.offset = *off;
    pick.epoch = epoch;
    pick.len = r.len;
    pick.crc = r.crc;
    pick.kind = kind;
    pick.status = r.status;

    *off += sizeof(header) + r.len;

    return pick;
}


void
help_seal(const char *id, uint32_t chunk, uint32_t epoch,
    batch_pick_t *picks, uint32_t n, uint64_t sealed_us)
{
    size_t         len;
    u_char        *buf;
    uint32_t       i;
    batch_seal_t   s;

    memset(&s, 0, sizeof(s));

    s.chunk = chunk;
    s.epoch = epoch;
    s.sealed_us = sealed_us;
    s.n = n;
    s.picks = picks;

    for (i = 0; i < n; i++) {
        s.ok += (picks[i].kind == BATCH_KIND_OUTPUT);
        s.failed += (picks[i].kind == BATCH_KIND_ERROR);
    }

    len = batch_seal_size(&s);
    buf = malloc(len);
    need(buf);

    batch_seal_encode(&s, id, buf);

    need(ngx_http_batch_seal_publish(id, chunk, epoch, buf, len,
                                           shim_log()) == NGX_OK);
    free(buf);
}


static unsigned
help_count_dir(const char *path, const char *suffix, int depth)
{
    DIR            *d;
    char            name[4096];
    size_t          len, n;
    unsigned        count;
    struct dirent  *de;

    d = opendir(path);

    if (d == NULL) {
        return 0;
    }

    count = 0;
    n = strlen(suffix);

    while ((de = readdir(d)) != NULL) {

        if (de->d_name[0] == '.') {
            continue;
        }

        len = strlen(de->d_name);

        /* shards have two characters */
        if (len > 2 && len >= n
            && strcmp(de->d_name + len - n, suffix) == 0)
        {
            count++;
        }

        if (depth < 2) {
            snprintf(name, sizeof(name), "%s/%s", path, de->d_name);
            count += help_count_dir(name, suffix, depth + 1);
        }
    }

    closedir(d);

    return count;
}


unsigned
help_count(const char *room, const char *suffix)
{
    char  path[4096];

    snprintf(path, sizeof(path), "%s/%s", (char *) help_dir.data, room);

    return help_count_dir(path, suffix, 0);
}


char *
help_blob(const char *id)
{
    ngx_str_t  text;

    if (ngx_http_batch_store_read(NGX_HTTP_BATCH_BLOB, id, 1 << 30, &text,
                                  shim_log())
        != NGX_OK)
    {
        return NULL;
    }

    return (char *) text.data;
}
