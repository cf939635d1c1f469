/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "batch_splice.h"
#include "test.h"


typedef struct {
    const char  *model;              /* the batch's token, "": none */
    const char  *body;
    const char  *sent;
    const char  *name;               /* the line's model then, "": none */
} splice_row_t;


static const splice_row_t  rows[] = {

    /* nothing to do: the client's bytes */

    { "", "{\"messages\":[]}", "{\"messages\":[]}", "" },
    { "\"b\"", "{ \"model\" : \"m\",\"messages\":[ ] }",
      "{ \"model\" : \"m\",\"messages\":[ ] }", "\"m\"" },
    { "", "{\"messages\":[],\"stream\":false,\"stream_options\":{}}",
      "{\"messages\":[],\"stream\":false,\"stream_options\":{}}", "" },
    { "", "{\"messages\":[],\"stream_options\":{}}",
      "{\"messages\":[],\"stream_options\":{}}", "" },
    { "", "{\"messages\":[{\"stream\":true}],\"x\":{\"stream\":true}}",
      "{\"messages\":[{\"stream\":true}],\"x\":{\"stream\":true}}", "" },

    /* the batch's model */

    { "\"b\"", "{\"messages\":[]}", "{\"model\":\"b\",\"messages\":[]}",
      "\"b\"" },
    { "\"b\\\"\"", "{ \"messages\":[]}",
      "{\"model\":\"b\\\"\", \"messages\":[]}", "\"b\\\"\"" },

    /* stream: first, last, in the middle, with white space and escapes */

    { "", "{\"stream\":true,\"messages\":[]}", "{\"messages\":[]}", "" },
    { "", "{ \"stream\" : true , \"messages\":[]}", "{ \"messages\":[]}", "" },
    { "", "{\"messages\":[],\"stream\":true}", "{\"messages\":[]}", "" },
    { "", "{\"messages\":[]\t, \"stream\":\ttrue }", "{\"messages\":[]\t }",
      "" },
    { "", "{\"messages\":[],\"stream\":true,\"n\":1}",
      "{\"messages\":[],\"n\":1}", "" },
    { "", "{\"messages\":[],\"\\u0073tream\":true,\"model\":\"m\"}",
      "{\"messages\":[],\"model\":\"m\"}", "\"m\"" },
    { "", "{\"model\":\"m\",\"stream\":true,\"messages\":[]}",
      "{\"model\":\"m\",\"messages\":[]}", "\"m\"" },

    /* with its options, in any places */

    { "", "{\"stream\":true,\"stream_options\":{\"a\":[1,2]},\"messages\":[]}",
      "{\"messages\":[]}", "" },
    { "", "{\"stream_options\":{} , \"stream\":true, \"messages\":[]}",
      "{\"messages\":[]}", "" },
    { "", "{\"messages\":[],\"stream\":true,\"stream_options\":null}",
      "{\"messages\":[]}", "" },
    { "", "{\"messages\":[] , \"stream_options\":\"}\", \"stream\":true }",
      "{\"messages\":[]  }", "" },
    { "", "{\"stream\":true,\"messages\":[],\"stream_options\":{}}",
      "{\"messages\":[]}", "" },
    { "", "{\"stream_options\":{},\"messages\":[],\"stream\":true}",
      "{\"messages\":[]}", "" },
    { "", "{\"a\":1,\"stream\":true,\"messages\":[],\"stream_options\":{},"
      "\"b\":2}", "{\"a\":1,\"messages\":[],\"b\":2}", "" },
    { "", "{\"a\":1,\"stream\":true,\"stream_options\":{},\"messages\":[]}",
      "{\"a\":1,\"messages\":[]}", "" },

    /* both */

    { "\"b\"", "{\"stream\":true,\"messages\":[]}",
      "{\"model\":\"b\",\"messages\":[]}", "\"b\"" },
    { "\"b\"", "{\"messages\":[],\"stream\":true}",
      "{\"model\":\"b\",\"messages\":[]}", "\"b\"" }
};

/* for an endpoint that demands nothing */

static const splice_row_t  any[] = {
    { "\"b\"", "{}", "{\"model\":\"b\" }", "\"b\"" },
    { "\"b\"", "{ }", "{\"model\":\"b\"  }", "\"b\"" },
    { "", "{\"stream\":true}", "{}", "" },
    { "", "{ \"stream\" : true }", "{  }", "" },
    { "", "{\"stream_options\":1,\"stream\":true}", "{}", "" },
    { "\"b\"", "{\"stream\":true}", "{\"model\":\"b\" }", "\"b\"" },
    { "\"b\"", "{\"stream\":true , \"stream_options\":{} }",
      "{\"model\":\"b\"  }", "\"b\"" }
};


static int
same(const batch_str_t *s, const char *text)
{
    return s->len == strlen(text)
           && (s->len == 0 || memcmp(s->data, text, s->len) == 0);
}


static void
row(const splice_row_t *r, const char *url)
{
    char                 text[512];
    size_t               len, size;
    batch_line_t         line;
    batch_rules_t        rules;
    unsigned char       *copy, *out;
    batch_target_t       target;
    batch_line_error_t   err;

    target.url.data = (const unsigned char *) url;
    target.url.len = strlen(url);

    batch_rules_init(&rules, &target, 1);

    rules.lenient = 1;
    rules.model.data = (const unsigned char *) r->model;
    rules.model.len = strlen(r->model);

    len = (size_t) sprintf(text, " {\"body\" :%s,\"custom_id\":\"i\"}",
                           r->body);
    copy = test_copy(text, len);

    ok(batch_jsonl_parse(copy, len, &rules, &line, &err) == BATCH_OK, "%s: %s",
       text, err.message);

    size = batch_splice_size(&line, &rules);
    out = malloc(size);
    batch_splice_keep(&line, &rules, out);

    /* the line is not looked at any more */

    memset(copy, 'x', len);
    free(copy);

    ok(same(&line.body, r->sent), "%s: sent %.*s", r->body,
       (int) line.body.len, (const char *) line.body.data);
    ok(same(&line.custom_id, "\"i\""), "%s: custom_id", r->body);
    ok(same(&line.model, r->name), "%s: model %.*s", r->body,
       (int) line.model.len, (const char *) line.model.data);
    ok(line.custom_id.data + line.custom_id.len == out + size, "%s: %zu bytes",
       r->body, size);

    free(out);
}


int
main(void)
{
    size_t  i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        row(&rows[i], "/v1/chat/completions");
    }

    for (i = 0; i < sizeof(any) / sizeof(any[0]); i++) {
        row(&any[i], "/own");
    }

    return test_done("splice");
}
