/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "batch_jsonl.h"
#include "batch_token.h"
#include "json_table.h"
#include "test.h"


#define CHAT   0
#define EMBED  1
#define OTHER  2
#define LEGACY  3
#define MODER  4
#define IMAGE  5
#define RERANK 6
#define SCORE  7
#define ANTHR  8
#define AZURE  9
#define ANY    10

/* flags */
#define MODEL  16                    /* the model is optional */
#define LAX    32                    /* lenient, with all of these endpoints */
#define DONE   64                    /* it was checked before */

#define NOT_JSON  "This line is not parseable as valid JSON. "

/* a line that is good up to here, of which a test changes one thing */
#define ID    "\"custom_id\":\"a\","
#define TEXT64                                                                \
    "0123456789012345678901234567890123456789012345678901234567890123"
#define POST  "\"method\":\"POST\","
#define URL   "\"url\":\"/v1/chat/completions\","
#define HEAD  ID POST URL
#define BODY  "\"body\":{\"model\":\"m\",\"messages\":[]}"
#define EHEAD ID POST "\"url\":\"/v1/embeddings\","
#define OHEAD ID POST "\"url\":\"/v1/responses\","
#define LINE(url, body)  "{" ID POST "\"url\":\"" url "\",\"body\":{" body "}}"


typedef struct {
    int          how;
    const char  *line;
    const char  *code;               /* NULL: the line is good */
    const char  *param;
    const char  *message;            /* its beginning */
    uint64_t     inputs;
} line_row_t;


static const batch_str_t  endpoints[] = {
    batch_string("/v1/chat/completions"),
    batch_string("/v1/embeddings"),
    batch_string("/v1/responses"),
    batch_string("/v1/completions"),
    batch_string("/v1/moderations"),
    batch_string("/v1/images/generations"),
    batch_string("/v1/rerank"),
    batch_string("/v1/score"),
    batch_string("/v1/messages"),
    batch_string("/chat/completions"),
    batch_string("/own/thing")
};

#define ENDPOINTS  (sizeof(endpoints) / sizeof(endpoints[0]))


static const line_row_t  rows[] = {

    /* good ones */

    { CHAT, "{" HEAD BODY "}", NULL, NULL, NULL, 0 },
    { CHAT, " { " HEAD BODY " } \r", NULL, NULL, NULL, 0 },
    { CHAT, "{" BODY "," URL POST "\"custom_id\":\"x\"}", NULL, NULL, NULL, 0 },
    { CHAT, "{" HEAD BODY ",\"extra\":[1,{\"url\":2}],\"extra\":3}",
      NULL, NULL, NULL, 0 },
    { CHAT, "{" HEAD "\"body\":{\"model\":\"m\",\"stream\":false,\"messages\":"
      "[{\"model\":1,\"model\":2}],\"tools\":[],\"tools\":{}}}",
      NULL, NULL, NULL, 0 },
    { CHAT, "{" HEAD "\"body\":{\"model\":\"m\",\"stream\":null,\"messages\":"
      "[]}}", NULL, NULL, NULL, 0 },
    { CHAT, "{" ID "\"method\":\"\\u0050OST\",\"url\":"
      "\"\\/v1\\/chat\\/completions\"," BODY "}", NULL, NULL, NULL, 0 },
    { CHAT, "{\"custom\\u005fid\":\"a\"," POST "\"u\\u0072l\":"
      "\"/v1/chat/completions\"," BODY "}", NULL, NULL, NULL, 0 },
    { CHAT, "{\"custom_id\":\"\\ud800\"," POST URL BODY "}",
      NULL, NULL, NULL, 0 },
    { CHAT, "{" HEAD "\"body\":{\"input\":7,\"model\":\"\",\"messages\":[1]}}",
      NULL, NULL, NULL, 0 },
    { CHAT | MODEL, "{" HEAD "\"body\":{\"messages\":[]}}",
      NULL, NULL, NULL, 0 },
    { OTHER, "{" OHEAD "\"body\":{\"model\":\"m\",\"messages\":1,\"input\":"
      "[1,[2]]}}", NULL, NULL, NULL, 0 },

    { EMBED, "{" EHEAD "\"body\":{\"model\":\"m\",\"input\":\"x\"}}",
      NULL, NULL, NULL, 1 },
    { EMBED, "{" EHEAD "\"body\":{\"model\":\"m\",\"input\":[1, -2 ,3]}}",
      NULL, NULL, NULL, 1 },
    { EMBED, "{" EHEAD "\"body\":{\"model\":\"m\",\"input\":[]}}",
      NULL, NULL, NULL, 0 },
    { EMBED, "{" EHEAD "\"body\":{\"model\":\"m\",\"input\":[ \"a\" , \"b\" ]}"
      "}", NULL, NULL, NULL, 2 },
    { EMBED, "{" EHEAD "\"body\":{\"input\":[[1,2],[3],[4]],\"model\":\"m\"}}",
      NULL, NULL, NULL, 3 },

    /* what each endpoint demands, and no more */

    { EMBED, LINE("/v1/embeddings", "\"model\":\"m\",\"messages\":[{}]"),
      NULL, NULL, NULL, 1 },
    { EMBED, LINE("/v1/embeddings", "\"model\":\"m\",\"messages\":[{}],"
      "\"input\":null"), NULL, NULL, NULL, 1 },
    { EMBED, LINE("/v1/embeddings", "\"model\":\"m\",\"content\":\"x\""),
      NULL, NULL, NULL, 1 },
    { EMBED, LINE("/v1/embeddings", "\"model\":\"m\",\"messages\":\"x\""),
      "invalid_type", "body.messages", "Invalid type for 'messages': expected "
      "an array, but got a string instead.", 0 },
    { EMBED, LINE("/v1/embeddings", "\"input\":\"x\""),
      "missing_required_parameter", "body.model", "", 0 },
    { LEGACY, LINE("/v1/completions", "\"model\":\"m\",\"prompt\":\"x\""),
      NULL, NULL, NULL, 0 },
    { LEGACY, LINE("/v1/completions", "\"model\":\"m\",\"prompt\":[1,2]"),
      NULL, NULL, NULL, 0 },
    { LEGACY, LINE("/v1/completions", "\"model\":\"m\",\"prompt_embeds\":"
      "\"x\""), NULL, NULL, NULL, 0 },
    { LEGACY, LINE("/v1/completions", "\"model\":\"m\",\"messages\":[]"),
      "missing_required_parameter", "body.prompt",
      "Missing required parameter: 'prompt'.", 0 },
    { LEGACY, LINE("/v1/completions", "\"model\":\"m\",\"prompt\":1,"
      "\"stream\":true"), "streaming_unsupported", "body.stream",
      "Streaming is not", 0 },
    { OTHER, LINE("/v1/responses", ""), NULL, NULL, NULL, 0 },
    { OTHER, LINE("/v1/responses", "\"background\":false"), NULL, NULL, NULL,
      0 },
    { OTHER, LINE("/v1/responses", "\"background\":null"), NULL, NULL, NULL,
      0 },
    { OTHER, LINE("/v1/responses", "\"background\":true"),
      "background_unsupported", "body.background", "Background responses are "
      "not supported in the Batch API: ", 0 },
    { OTHER, LINE("/v1/responses", "\"b\\u0061ckground\":true"),
      "background_unsupported", "body.background", "", 0 },
    { OTHER, LINE("/v1/responses", "\"background\":1"), "invalid_type",
      "body.background", "", 0 },
    { OTHER, LINE("/v1/responses", "\"background\":false,\"background\":true"),
      "invalid_json_line", NULL, "", 0 },
    { CHAT, LINE("/v1/chat/completions", "\"model\":\"m\",\"messages\":[],"
      "\"background\":true,\"prompt\":1,\"prompt\":2"), NULL, NULL, NULL, 0 },
    { MODER, LINE("/v1/moderations", "\"input\":[\"x\",\"y\"]"), NULL, NULL,
      NULL, 0 },
    { MODER, LINE("/v1/moderations", "\"model\":\"m\""),
      "missing_required_parameter", "body.input", "", 0 },
    { MODER, LINE("/v1/moderations", "\"model\":1,\"input\":\"x\""),
      "invalid_type", "body.model", "", 0 },
    { IMAGE, LINE("/v1/images/generations", "\"prompt\":\"x\""), NULL, NULL,
      NULL, 0 },
    { IMAGE, LINE("/v1/images/generations", "\"model\":\"m\""),
      "missing_required_parameter", "body.prompt", "", 0 },
    { RERANK, LINE("/v1/rerank", "\"query\":\"x\",\"documents\":[]"), NULL,
      NULL, NULL, 0 },
    { RERANK, LINE("/v1/rerank", "\"query\":{},\"texts\":[]"), NULL, NULL,
      NULL, 0 },
    { RERANK, LINE("/v1/rerank", "\"documents\":[]"),
      "missing_required_parameter", "body.query", "", 0 },
    { RERANK, LINE("/v1/rerank", "\"query\":\"x\""),
      "missing_required_parameter", "body.documents", "", 0 },
    { SCORE, LINE("/v1/score", "\"text_1\":\"a\",\"text_2\":\"b\""), NULL,
      NULL, NULL, 0 },
    { ANTHR, LINE("/v1/messages", "\"model\":\"m\",\"messages\":[],"
      "\"max_tokens\":1"), NULL, NULL, NULL, 0 },
    { ANTHR, LINE("/v1/messages", "\"model\":\"m\",\"max_tokens\":1"),
      "missing_required_parameter", "body.messages", "", 0 },
    { ANTHR, LINE("/v1/messages", "\"messages\":[]"),
      "missing_required_parameter", "body.model", "", 0 },
    { AZURE, LINE("/chat/completions", "\"model\":\"m\",\"messages\":[]"),
      NULL, NULL, NULL, 0 },
    { AZURE, LINE("/chat/completions", "\"model\":\"m\""),
      "missing_required_parameter", "body.messages", "", 0 },
    { ANY, LINE("/own/thing", ""), NULL, NULL, NULL, 0 },
    { ANY, LINE("/own/thing", "\"model\":1,\"stream\":\"s\",\"input\":1,"
      "\"prompt\":1,\"prompt\":2"), NULL, NULL, NULL, 0 },
    { ANY, LINE("/own/thing", "\"stream\":true"), "streaming_unsupported",
      "body.stream", "", 0 },

    /* what was checked is not judged again */

    { CHAT | DONE, LINE("/v1/chat/completions", "\"messages\":[],"
      "\"prompt\":1,\"prompt\":2,\"stream\":true"), NULL, NULL, NULL, 0 },
    { OTHER | DONE, LINE("/v1/responses", "\"background\":true,\"model\":7"),
      NULL, NULL, NULL, 0 },
    { CHAT | DONE, LINE("/v1/chat/completions", "\"model\":\"m\""),
      "missing_required_parameter", "body.messages", "", 0 },
    { LEGACY | DONE, LINE("/v1/completions", ""), NULL, NULL, NULL, 0 },
    { CHAT | DONE, LINE("/v1/responses", ""), "invalid_url", "url", "", 0 },

    /* lenient */

    { CHAT | LAX, "{" ID "\"body\":{\"messages\":[]}}", NULL, NULL, NULL, 0 },
    { CHAT | LAX, LINE("v1/embeddings", "\"input\":[[1],[2]]"), NULL, NULL,
      NULL, 2 },
    { CHAT | LAX, LINE("\\u0076\\u0031/embeddings", "\"input\":\"x\""), NULL,
      NULL, NULL, 1 },
    { CHAT | LAX, LINE("/v1/moderations", "\"input\":\"x\",\"stream\":true"),
      NULL, NULL, NULL, 0 },
    { CHAT | LAX, "{" ID "\"body\":{\"prompt\":1}}",
      "missing_required_parameter", "body.messages", "", 0 },
    { CHAT | LAX, LINE("/v1/completions", "\"messages\":[]"),
      "missing_required_parameter", "body.prompt", "", 0 },
    { CHAT | LAX, LINE("/v1/responses", "\"background\":true"),
      "background_unsupported", "body.background", "", 0 },
    { CHAT | LAX, LINE("/v2/chat/completions", ""), "invalid_url", "url",
      "The URL provided for this request is not one of those that batches may "
      "name here: '/v1/chat/completions', '/v1/embeddings', ", 0 },
    { CHAT | LAX, LINE("", ""), "invalid_url", "url", "", 0 },
    { CHAT | LAX, "{" ID "\"url\":null,\"body\":{}}", "invalid_type", "url", "",
      0 },
    { CHAT | LAX, "{" ID "\"method\":\"GET\",\"body\":{}}", "invalid_method",
      "method", "", 0 },
    { CHAT | LAX, "{\"body\":{\"messages\":[]}}",
      "missing_required_parameter", "custom_id", "", 0 },
    { CHAT | LAX, LINE("/own/thing", "\"model\":1"), "invalid_type",
      "body.model", "", 0 },
    { CHAT | LAX, LINE("/v1/chat/completions", "\"messages\":[],\"stream\":"
      "\"true\""), "invalid_type", "body.stream", "", 0 },

    /* not JSON, in any way */

    { CHAT, "", "invalid_json_line", NULL, NOT_JSON "Unexpected end at byte 1.",
      0 },
    { CHAT, "   ", "invalid_json_line", NULL,
      NOT_JSON "Unexpected end at byte 4.", 0 },
    { CHAT, "[]", "invalid_json_line", NULL,
      NOT_JSON "Expected an object at byte 1.", 0 },
    { CHAT, "1", "invalid_json_line", NULL,
      NOT_JSON "Expected an object at byte 1.", 0 },
    { CHAT, "\"x\"", "invalid_json_line", NULL,
      NOT_JSON "Expected an object at byte 1.", 0 },
    { CHAT, "\xef\xbb\xbf{}", "invalid_json_line", NULL, NOT_JSON, 0 },
    { CHAT, "{" HEAD BODY "} {}", "invalid_json_line", NULL,
      NOT_JSON "Text after the value at byte ", 0 },
    { CHAT, "{" HEAD BODY ",}", "invalid_json_line", NULL,
      NOT_JSON "Expected a key at byte ", 0 },
    { CHAT, "{" HEAD BODY, "invalid_json_line", NULL,
      NOT_JSON "Unexpected end at byte ", 0 },
    { CHAT, "{\"a\":1,\"b\":01}", "invalid_json_line", NULL,
      NOT_JSON "Invalid number at byte 13.", 0 },
    { CHAT, "{\"a\":NaN}", "invalid_json_line", NULL,
      NOT_JSON "Unexpected byte at byte 6.", 0 },
    { CHAT, "{'a':1}", "invalid_json_line", NULL,
      NOT_JSON "Expected a key at byte 2.", 0 },
    { CHAT, "{\"a\":\"\xed\xa0\x80\"}", "invalid_json_line", NULL,
      NOT_JSON "Invalid UTF-8 at byte 7.", 0 },
    { CHAT, "{\"a\":\"\t\"}", "invalid_json_line", NULL,
      NOT_JSON "Control character in a string at byte 7.", 0 },
    { CHAT, "{\"a\":\"\\x\"}", "invalid_json_line", NULL,
      NOT_JSON "Invalid escape at byte 8.", 0 },
    { CHAT, "{\"body\":{\"input\":[1,]}}", "invalid_json_line", NULL,
      NOT_JSON "Unexpected byte at byte 21.", 0 },
    { CHAT, "{\"body\":{\"input\":[1 2]}}", "invalid_json_line", NULL,
      NOT_JSON "Expected a comma", 0 },
    { CHAT, "{\"body\":{\"input\":[1,2}}", "invalid_json_line", NULL,
      NOT_JSON "Expected a comma", 0 },
    { CHAT, "{\"body\":{\"model\" 1}}", "invalid_json_line", NULL,
      NOT_JSON "Expected a colon at byte 18.", 0 },

    /* a known key twice, before anything else */

    { CHAT, "{\"custom_id\":1,\"custom_id\":2}", "invalid_json_line", NULL,
      NOT_JSON "Duplicate key 'custom_id' at byte 16.", 0 },
    { CHAT, "{" HEAD "\"method\":\"POST\"," BODY "}", "invalid_json_line",
      NULL, NOT_JSON "Duplicate key 'method'", 0 },
    { CHAT, "{" HEAD "\"u\\u0072l\":\"/v1/chat/completions\"," BODY "}",
      "invalid_json_line", NULL, NOT_JSON "Duplicate key 'url'", 0 },
    { CHAT, "{" HEAD BODY "," BODY "}", "invalid_json_line", NULL,
      NOT_JSON "Duplicate key 'body'", 0 },
    { CHAT, "{" HEAD "\"body\":null," BODY "}", "invalid_json_line", NULL,
      NOT_JSON "Duplicate key 'body'", 0 },
    { CHAT, "{" HEAD "\"body\":{\"model\":\"m\",\"model\":\"m\"}}",
      "invalid_json_line", NULL, NOT_JSON "Duplicate key 'body.model'", 0 },
    { CHAT, "{" HEAD "\"body\":{\"stream\":false,\"str\\u0065am\":true}}",
      "invalid_json_line", NULL, NOT_JSON "Duplicate key 'body.stream'", 0 },
    { CHAT, "{" HEAD "\"body\":{\"messages\":[],\"messages\":[]}}",
      "invalid_json_line", NULL, NOT_JSON "Duplicate key 'body.messages'", 0 },
    { EMBED, "{" EHEAD "\"body\":{\"input\":[],\"input\":[]}}",
      "invalid_json_line", NULL, NOT_JSON "Duplicate key 'body.input'", 0 },

    /* also when either of them, or both, are written with escapes */

    { CHAT, "{" HEAD BODY ",\"custom\\u005fid\":\"a\"}", "invalid_json_line",
      NULL, NOT_JSON "Duplicate key 'custom_id'", 0 },
    { CHAT, "{\"\\u0063ustom_id\":\"a\"," HEAD BODY "}", "invalid_json_line",
      NULL, NOT_JSON "Duplicate key 'custom_id'", 0 },
    { CHAT, "{\"custom_i\\u0064\":1,\"custom_\\u0069d\":2}",
      "invalid_json_line", NULL, NOT_JSON "Duplicate key 'custom_id'", 0 },
    { CHAT, "{" HEAD BODY ",\"\\u006d\\u0065\\u0074\\u0068\\u006f\\u0064\""
      ":\"POST\"}", "invalid_json_line", NULL,
      NOT_JSON "Duplicate key 'method'", 0 },
    { CHAT, "{" HEAD BODY ",\"ur\\u006c\":\"x\"}", "invalid_json_line", NULL,
      NOT_JSON "Duplicate key 'url'", 0 },
    { CHAT, "{\"ur\\u006C\":1,\"ur\\u006c\":2}", "invalid_json_line", NULL,
      NOT_JSON "Duplicate key 'url'", 0 },
    { CHAT, "{" HEAD BODY ",\"bod\\u0079\":{}}", "invalid_json_line", NULL,
      NOT_JSON "Duplicate key 'body'", 0 },
    { CHAT, "{" HEAD "\"body\":{\"model\":\"m\",\"messages\":[],"
      "\"mode\\u006c\":\"n\"}}", "invalid_json_line", NULL,
      NOT_JSON "Duplicate key 'body.model'", 0 },
    { CHAT, "{" HEAD "\"body\":{\"\\u006dodel\":\"m\",\"messages\":[],"
      "\"model\":\"n\"}}", "invalid_json_line", NULL,
      NOT_JSON "Duplicate key 'body.model'", 0 },
    { CHAT, "{" HEAD "\"body\":{\"model\":\"m\",\"messages\":[],"
      "\"\\u0073tream\":false,\"stream\":true}}", "invalid_json_line", NULL,
      NOT_JSON "Duplicate key 'body.stream'", 0 },
    { CHAT, "{" HEAD "\"body\":{\"model\":\"m\",\"messages\":[],"
      "\"message\\u0073\":[]}}", "invalid_json_line", NULL,
      NOT_JSON "Duplicate key 'body.messages'", 0 },
    { EMBED, "{" EHEAD "\"body\":{\"input\":[],\"\\u0069nput\":[]}}",
      "invalid_json_line", NULL, NOT_JSON "Duplicate key 'body.input'", 0 },

    /* but not another one that only looks like it, nor one further in */

    { CHAT, "{" HEAD BODY ",\"Url\":1,\"url \":2,\"url\\u0000\":3,\"ur\":4,"
      "\"\\\\u0075rl\":5,\"\":6,\"custom-id\":7,\"stream\":true}",
      NULL, NULL, NULL, 0 },
    { CHAT, "{" HEAD "\"body\":{\"model\":\"m\",\"messages\":[{\"stream\":"
      "true,\"stream\":1}],\"url\":1,\"url\":2,\"body\":{\"model\":1}}}",
      NULL, NULL, NULL, 0 },

    /* what is required */

    { CHAT, "{}", "missing_required_parameter", "custom_id",
      "Missing required parameter: 'custom_id'.", 0 },
    { CHAT, "{" POST URL BODY "}", "missing_required_parameter", "custom_id",
      "Missing required parameter: 'custom_id'.", 0 },
    { CHAT, "{" ID URL BODY "}", "missing_required_parameter", "method",
      "Missing required parameter: 'method'.", 0 },
    { CHAT, "{" ID POST BODY "}", "missing_required_parameter", "url",
      "Missing required parameter: 'url'.", 0 },
    { CHAT, "{" HEAD "\"b\":{}}", "missing_required_parameter", "body",
      "Missing required parameter: 'body'.", 0 },
    { CHAT, "{" HEAD "\"body\":{\"messages\":[]}}",
      "missing_required_parameter", "body.model",
      "Missing required parameter: 'model'.", 0 },
    { CHAT, "{" HEAD "\"body\":{\"model\":\"m\"}}",
      "missing_required_parameter", "body.messages",
      "Missing required parameter: 'messages'.", 0 },
    { EMBED, "{" EHEAD "\"body\":{\"model\":\"m\"}}",
      "missing_required_parameter", "body.input",
      "Missing required parameter: 'input'.", 0 },

    /* types */

    { CHAT, "{\"custom_id\":1," POST URL BODY "}", "invalid_type", "custom_id",
      "Invalid type for 'custom_id': expected a string, but got a number "
      "instead.", 0 },
    { CHAT, "{\"custom_id\":null," POST URL BODY "}", "invalid_type",
      "custom_id", "Invalid type for 'custom_id': expected a string, but got "
      "null instead.", 0 },
    { CHAT, "{" ID "\"method\":[]," URL BODY "}", "invalid_type", "method",
      "Invalid type for 'method': expected a string, but got an array", 0 },
    { CHAT, "{" ID POST "\"url\":true," BODY "}", "invalid_type", "url",
      "Invalid type for 'url': expected a string, but got a boolean", 0 },
    { CHAT, "{" HEAD "\"body\":[]}", "invalid_type", "body",
      "Invalid type for 'body': expected an object, but got an array", 0 },
    { CHAT, "{" HEAD "\"body\":\"{}\"}", "invalid_type", "body",
      "Invalid type for 'body': expected an object, but got a string", 0 },
    { CHAT, "{" HEAD "\"body\":{\"model\":1,\"messages\":[]}}", "invalid_type",
      "body.model", "Invalid type for 'model': expected a string", 0 },
    { CHAT | MODEL, "{" HEAD "\"body\":{\"model\":1,\"messages\":[]}}",
      "invalid_type", "body.model", "Invalid type for 'model'", 0 },
    { CHAT, "{" HEAD "\"body\":{\"model\":\"m\",\"messages\":{}}}",
      "invalid_type", "body.messages", "Invalid type for 'messages': expected "
      "an array, but got an object instead.", 0 },
    { CHAT, "{" HEAD "\"body\":{\"model\":\"m\",\"stream\":\"true\","
      "\"messages\":[]}}", "invalid_type", "body.stream",
      "Invalid type for 'stream': expected a boolean, but got a string", 0 },
    { EMBED, "{" EHEAD "\"body\":{\"model\":\"m\",\"input\":{}}}",
      "invalid_type", "body.input", "Invalid type for 'input': expected a "
      "string or an array, but got an object instead.", 0 },

    /* values */

    { CHAT, "{\"custom_id\":\"\"," POST URL BODY "}", "invalid_value",
      "custom_id", "Invalid 'custom_id': empty string.", 0 },
    { CHAT, "{" ID "\"method\":\"GET\"," URL BODY "}", "invalid_method",
      "method", "Invalid value: 'GET'. Supported values are: 'POST'.", 0 },
    { CHAT, "{" ID "\"method\":\"post\"," URL BODY "}", "invalid_method",
      "method", "Invalid value: 'post'.", 0 },
    { CHAT, "{" ID "\"method\":\"POST \"," URL BODY "}", "invalid_method",
      "method", "Invalid value: 'POST '.", 0 },
    { CHAT, "{" ID "\"method\":\"POST\\r\\nX: y\"," URL BODY "}",
      "invalid_method", "method", "Invalid value: 'POST\\r\\nX: y'.", 0 },
    { CHAT, "{" ID "\"method\":\"POST\\u0000\"," URL BODY "}",
      "invalid_method", "method", "Invalid value: 'POST\\u0000'.", 0 },
    { CHAT, "{" ID "\"method\":\"G\xe2\x80\xae\x7f\"," URL BODY "}",
      "invalid_method", "method", "Invalid value: 'G?" "?'.", 0 },
    { CHAT, "{" ID "\"method\":\"" TEXT64 TEXT64 "\"," URL BODY "}",
      "invalid_method", "method",
      "Invalid value: '" TEXT64 TEXT64 "'. Supported", 0 },
    { CHAT, "{" ID "\"method\":\"" TEXT64 TEXT64 "x\"," URL BODY "}",
      "invalid_method", "method",
      "Invalid value: '" TEXT64 TEXT64 "...'. Supported", 0 },
    { CHAT, "{" ID "\"method\":\"\"," URL BODY "}", "invalid_method", "method",
      "Invalid value: ''.", 0 },
    { CHAT, "{" HEAD "\"body\":{\"model\":\"m\",\"stream\":true}}",
      "streaming_unsupported", "body.stream", "Chat Completions: Streaming is "
      "not supported in the Batch API.", 0 },
    { CHAT, "{" HEAD "\"body\":{\"model\":\"m\",\"str\\u0065am\":true}}",
      "streaming_unsupported", "body.stream", "Chat Completions: ", 0 },
    { OTHER, "{" OHEAD "\"body\":{\"model\":\"m\",\"stream\":true}}",
      "streaming_unsupported", "body.stream", "Streaming is not supported in "
      "the Batch API.", 0 },

    /* the first of several */

    { CHAT, "{\"method\":\"GET\",\"url\":\"x\",\"body\":1}",
      "missing_required_parameter", "custom_id", "", 0 },
    { CHAT, "{" ID "\"method\":\"GET\",\"url\":\"x\",\"body\":1}",
      "invalid_method", "method", "", 0 },
    { CHAT, "{" ID POST "\"url\":\"x\",\"body\":1}", "invalid_url", "url", "",
      0 },
    { CHAT, "{" HEAD "\"body\":{\"stream\":true}}",
      "missing_required_parameter", "body.model", "", 0 },
    { CHAT, "{\"method\":\"GET\",\"body\":{\"stream\":true},}",
      "invalid_json_line", NULL, "", 0 }
};


static const char  *urls[] = {
    "", "/", "/v1/chat/completion", "/v1/chat/completions/",
    "/v1/chat/completions?x=1", "/v1/chat/completions#", "/V1/chat/completions",
    "/v1/chat/completions\\u0000", "/v1/chat/completions/../../admin",
    "/v1/chat%2fcompletions", "/v1/chat/completions\\r\\nHost: x",
    " /v1/chat/completions", "//host/v1/chat/completions",
    "http://169.254.169.254/v1/chat/completions", "/v1/batches",
    "/internal/v1/chat/completions", "\\\\/v1/chat/completions",
    "/v1/chat/completion\xc2\xa0", "v1/chat/completions",
    "/v1/chat/completions/v1/chat/completions",
    "\\/v1\\/chat\\/completion", "\\u002fv1/chat/completions\\u0020"
};


static int
parse(const char *text, size_t len, int how, batch_line_t *line,
    batch_line_error_t *err, unsigned char **copy)
{
    unsigned              i, own;
    batch_rules_t         rules;
    batch_target_t        targets[ENDPOINTS];

    *copy = test_copy(text, len);
    own = (unsigned) how & 15;

    for (i = 0; i < ENDPOINTS; i++) {
        targets[i].url = endpoints[(own + i) % ENDPOINTS];
    }

    batch_rules_init(&rules, targets, (how & LAX) ? ENDPOINTS : 1);

    rules.model_optional = (how & MODEL) != 0;
    rules.lenient = (how & LAX) != 0;
    rules.checked = (how & DONE) != 0;

    return batch_jsonl_parse(*copy, len, &rules, line, err);
}


static void
lines(void)
{
    int                 rc;
    size_t              i, cut;
    batch_line_t        line;
    unsigned char      *copy;
    const line_row_t   *row;
    batch_line_error_t  err;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        row = &rows[i];
        rc = parse(row->line, strlen(row->line), row->how, &line, &err, &copy);

        if (row->code == NULL) {
            ok(rc == BATCH_OK, "%s: %s", row->line, err.message);
            ok(line.inputs == row->inputs, "%s: %llu inputs", row->line,
               (unsigned long long) line.inputs);
            ok(line.body.len >= 2 && line.body.data[0] == '{'
               && line.body.data[line.body.len - 1] == '}', "body");

            /* no shorter line is JSON, none is read beyond its end */

            for (cut = 0; cut < strlen(row->line) - 2; cut++) {
                free(copy);
                rc = parse(row->line, cut, row->how, &line, &err, &copy);
                ok(rc == BATCH_ERROR
                   && strcmp(err.code, "invalid_json_line") == 0,
                   "%s cut at %zu", row->line, cut);
            }

        } else {
            ok(rc == BATCH_ERROR, "%s", row->line);
            ok(err.code && strcmp(err.code, row->code) == 0, "%s: %s",
               row->line, err.code);
            ok(row->param ? err.param && strcmp(err.param, row->param) == 0
                          : err.param == NULL, "%s: %s", row->line, err.param);
            ok(strncmp(err.message, row->message, strlen(row->message)) == 0,
               "%s: %s", row->line, err.message);
        }

        free(copy);
    }
}


static void
wrong_urls(void)
{
    int                 rc;
    char                text[512];
    size_t              i;
    batch_line_t        line;
    unsigned char      *copy;
    batch_line_error_t  err;

    for (i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        snprintf(text, sizeof(text), "{" ID POST "\"url\":\"%s\"," BODY "}",
                 urls[i]);
        rc = parse(text, strlen(text), CHAT, &line, &err, &copy);

        ok(rc == BATCH_ERROR && strcmp(err.code, "invalid_url") == 0,
           "%s", text);
        ok(strcmp(err.message, "The URL provided for this request does not "
                  "match the batch endpoint. Expected '/v1/chat/completions'.")
           == 0, "%s", err.message);

        free(copy);
    }
}


/* the spans point at exactly what was written */

static void
spans(void)
{
    int                 rc;
    size_t              i;
    batch_line_t        line;
    unsigned char      *copy;
    batch_line_error_t  err;

    static const char   text[] =
        " { \"body\" : { \"messages\" : [ ] , \"x\":1.50 , \"model\" : "
        "\"m\\u0031\" } , \"url\":\"\\/v1/chat/completions\" , \"custom_id\""
        ":\"\\ud83d\xf0\x9f\x98\x80\",\"method\":\"POST\"}";
    static const char  *expected[] = {
        "\"\\ud83d\xf0\x9f\x98\x80\"", "\"POST\"",
        "\"\\/v1/chat/completions\"",
        "{ \"messages\" : [ ] , \"x\":1.50 , \"model\" : \"m\\u0031\" }",
        "\"m\\u0031\""
    };

    const batch_str_t  *got[] = {
        &line.custom_id, &line.method, &line.url, &line.body, &line.model
    };

    rc = parse(text, sizeof(text) - 1, CHAT, &line, &err, &copy);
    ok(rc == BATCH_OK, "%s", err.message);

    for (i = 0; i < 5 && rc == BATCH_OK; i++) {
        ok(got[i]->len == strlen(expected[i])
           && memcmp(got[i]->data, expected[i], got[i]->len) == 0,
           "%s", expected[i]);
    }

    free(copy);
}


static void
custom_ids(void)
{
    int                 rc;
    char                text[8192];
    size_t              n, i, len;
    batch_line_t        line;
    unsigned char      *copy;
    batch_line_error_t  err;

    for (n = BATCH_CUSTOM_ID_MAX - 1; n <= BATCH_CUSTOM_ID_MAX + 1; n++) {

        len = (size_t) sprintf(text, "{\"custom_id\":\"");
        memset(text + len, 'i', n);
        strcpy(text + len + n, "\"," POST URL BODY "}");
        rc = parse(text, strlen(text), CHAT, &line, &err, &copy);
        ok((rc == BATCH_OK) == (n <= BATCH_CUSTOM_ID_MAX), "id of %zu", n);
        free(copy);

        /* counted as decoded, not as written */

        for (i = 0; i < n; i++) {
            memcpy(text + len + 6 * i, "\\u0041", 6);
        }

        strcpy(text + len + 6 * n, "\"," POST URL BODY "}");
        rc = parse(text, strlen(text), CHAT, &line, &err, &copy);
        ok((rc == BATCH_OK) == (n <= BATCH_CUSTOM_ID_MAX), "escaped %zu", n);
        free(copy);
    }

    ok(strcmp(err.code, "invalid_value") == 0
       && strcmp(err.param, "custom_id") == 0, "too long");
    ok(strstr(err.message, "maximum length 512, but got a string with length "
              "513 instead.") != NULL, "%s", err.message);
}


static void
depth(void)
{
    int                 rc;
    char                text[4096];
    size_t              n, len;
    batch_line_t        line;
    unsigned char      *copy;
    batch_line_error_t  err;

    /* the line and its body are two levels, the brackets come on top */

    for (n = BATCH_JSON_MAX_DEPTH - 3; n <= BATCH_JSON_MAX_DEPTH; n++) {
        len = (size_t) sprintf(text, "{" HEAD "\"body\":{\"model\":\"m\","
                               "\"messages\":[],\"x\":");
        memset(text + len, '[', n);
        memset(text + len + n, ']', n);
        strcpy(text + len + 2 * n, "}}");
        rc = parse(text, strlen(text), CHAT, &line, &err, &copy);
        ok((rc == BATCH_OK) == (n + 2 <= BATCH_JSON_MAX_DEPTH), "%zu: %s", n,
           err.message);
        free(copy);

        len = (size_t) sprintf(text, "{" EHEAD "\"body\":{\"model\":\"m\","
                               "\"input\":");
        memset(text + len, '[', n);
        memset(text + len + n, ']', n);
        strcpy(text + len + 2 * n, "}}");
        rc = parse(text, strlen(text), EMBED, &line, &err, &copy);
        ok((rc == BATCH_OK) == (n + 2 <= BATCH_JSON_MAX_DEPTH), "%zu: %s", n,
           err.message);
        free(copy);
    }

    ok(strstr(err.message, "Nested too deeply at byte ") != NULL, "%s",
       err.message);

    memset(text, '[', sizeof(text));
    memcpy(text, "{\"a\":", 5);
    rc = parse(text, sizeof(text), CHAT, &line, &err, &copy);
    ok(rc == BATCH_ERROR && strstr(err.message, "deeply"), "a wall of ['s");
    free(copy);
}


typedef struct {
    const char  *token;
    size_t       len;
    const char  *bytes;
} token_row_t;

static const token_row_t  tokens[] = {
    { "\"\"", 0, "" },
    { "\"abc\"", 3, "abc" },
    { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", 8, "\"\\/\b\f\n\r\t" },
    { "\"\\u0041\\u00e9\\u20aC\"", 6, "A\xc3\xa9\xe2\x82\xac" },
    { "\"\\u0000z\"", 2, "\0z" },
    { "\"\\ud83d\\ude00\"", 4, "\xf0\x9f\x98\x80" },
    { "\"\\uD83D\\uDE00!\"", 5, "\xf0\x9f\x98\x80!" },
    { "\"\\ud83d\"", 3, "\xed\xa0\xbd" },
    { "\"\\ud83dx\"", 4, "\xed\xa0\xbdx" },
    { "\"\\ud83d\\n\"", 4, "\xed\xa0\xbd\n" },
    { "\"\\ude00\\ud83d\"", 6, "\xed\xb8\x80\xed\xa0\xbd" },
    { "\"\\ud83d\\ud83d\\ude00\"", 7, "\xed\xa0\xbd\xf0\x9f\x98\x80" },
    { "\"\\ud83d\\u0041\"", 4, "\xed\xa0\xbd" "A" },
    { "\"\\udbff\\udfff\"", 4, "\xf4\x8f\xbf\xbf" },
    { "\"\\u07ff\\u0800\\uffff\"", 8, "\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf" },
    { "\"\\ud83\\u0064\"", 0, NULL },
    { "\"x\\u0079\"", 2, "xy" }
};


static void
decode(void)
{
    size_t              i, k, cap, n;
    batch_str_t         token, other;
    unsigned char       buf[16], *copy;
    const token_row_t  *row;

    n = sizeof(tokens) / sizeof(tokens[0]);

    for (i = 0; i < n; i++) {
        row = &tokens[i];

        if (row->bytes == NULL) {
            continue;                       /* no scanner lets it pass */
        }

        token.len = strlen(row->token);
        token.data = copy = test_copy(row->token, token.len);

        for (cap = 0; cap <= row->len + 1; cap++) {
            memset(buf, 0xaa, sizeof(buf));
            ok(batch_token_decode(&token, buf, cap) == row->len, "%s",
               row->token);
            k = cap < row->len ? cap : row->len;
            ok(memcmp(buf, row->bytes, k) == 0 && buf[k] == 0xaa,
               "%s, room for %zu", row->token, cap);
        }

        for (k = 0; k < n; k++) {
            if (tokens[k].bytes) {
                other.data = (const unsigned char *) tokens[k].token;
                other.len = strlen(tokens[k].token);
                ok(batch_token_eq(&token, &other)
                   == (row->len == tokens[k].len
                       && memcmp(row->bytes, tokens[k].bytes, row->len) == 0),
                   "%s = %s", row->token, tokens[k].token);
            }
        }

        free(copy);
    }
}


static int
token_eq(const char *a, const char *b)
{
    batch_str_t  ta, tb;

    ta.data = (const unsigned char *) a;
    ta.len = strlen(a);
    tb.data = (const unsigned char *) b;
    tb.len = strlen(b);

    return batch_token_eq(&ta, &tb) && batch_token_eq(&tb, &ta);
}


int
main(void)
{
    lines();
    wrong_urls();
    spans();
    custom_ids();
    depth();
    decode();

    ok(token_eq("\"a\"", "\"\\u0061\""), "a, escaped");
    ok(token_eq("\"\xf0\x9f\x98\x80\"", "\"\\ud83d\\ude00\""), "a pair");
    ok(!token_eq("\"\\ud83d\"", "\"\\ud83e\""), "lone surrogates");
    ok(!token_eq("\"a\"", "\"\\u0061b\""), "longer");
    ok(!token_eq("\"a\"", "\"a\\u0000\""), "NUL");
    ok(!token_eq("\"ab\"", "\"a\""), "plain");
    ok(token_eq("\"\"", "\"\""), "empty");

    ok(batch_jsonl_blank((const unsigned char *) " \t\r\n", 4), "blank");
    ok(batch_jsonl_blank((const unsigned char *) "", 0), "empty");
    ok(!batch_jsonl_blank((const unsigned char *) " \v", 2), "\\v");
    ok(!batch_jsonl_blank((const unsigned char *) "\f", 1), "\\f");
    ok(!batch_jsonl_blank((const unsigned char *) " \0", 2), "NUL");

    return test_done("jsonl");
}
