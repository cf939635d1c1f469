/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The table of endpoints.
 */

#include "batch_endpoint.h"

#include <string.h>


#define MODEL          batch_key(BATCH_KEY_MODEL)
#define INPUT          batch_key(BATCH_KEY_INPUT)
#define QUERY          batch_key(BATCH_KEY_QUERY)
#define TEXTS          batch_key(BATCH_KEY_TEXTS)
#define STREAM         batch_key(BATCH_KEY_STREAM)
#define PROMPT         batch_key(BATCH_KEY_PROMPT)
#define CONTENT        batch_key(BATCH_KEY_CONTENT)
#define MESSAGES       batch_key(BATCH_KEY_MESSAGES)
#define DOCUMENTS      batch_key(BATCH_KEY_DOCUMENTS)
#define BACKGROUND     batch_key(BATCH_KEY_BACKGROUND)
#define PROMPT_EMBEDS  batch_key(BATCH_KEY_PROMPT_EMBEDS)

/* those that are looked for in every body, and refused when they are twice */
#define ALL            (MODEL|STREAM|MESSAGES|INPUT)


/* a tail that ends with another one comes before it */

static const batch_endpoint_t  batch_endpoints[] = {

    { batch_string("/chat/completions"), 1, 1, 1,
      { { MESSAGES, BATCH_KEY_MESSAGES }, { 0, 0 } },
      ALL, 0, "Chat Completions: " },

    { batch_string("/embeddings"), 1, 1, 1,
      { { INPUT|MESSAGES|CONTENT, BATCH_KEY_INPUT }, { 0, 0 } },
      ALL|CONTENT, 1, "" },

    { batch_string("/completions"), 1, 1, 0,
      { { PROMPT|PROMPT_EMBEDS, BATCH_KEY_PROMPT }, { 0, 0 } },
      ALL|PROMPT|PROMPT_EMBEDS, 0, "" },

    { batch_string("/responses"), 1, 0, 0,
      { { 0, 0 }, { 0, 0 } },
      ALL|BACKGROUND, 0, "" },

    { batch_string("/moderations"), 1, 0, 0,
      { { INPUT, BATCH_KEY_INPUT }, { 0, 0 } },
      ALL, 0, "" },

    { batch_string("/images/generations"), 1, 0, 0,
      { { PROMPT, BATCH_KEY_PROMPT }, { 0, 0 } },
      ALL|PROMPT, 0, "" },

    { batch_string("/images/edits"), 1, 0, 0,
      { { PROMPT, BATCH_KEY_PROMPT }, { 0, 0 } },
      ALL|PROMPT, 0, "" },

    { batch_string("/rerank"), 1, 0, 0,
      { { QUERY, BATCH_KEY_QUERY }, { DOCUMENTS|TEXTS, BATCH_KEY_DOCUMENTS } },
      ALL|QUERY|DOCUMENTS|TEXTS, 0, "" },

    { batch_string("/score"), 1, 0, 0,
      { { 0, 0 }, { 0, 0 } },
      ALL, 0, "" },

    { batch_string("/messages"), 1, 1, 0,
      { { MESSAGES, BATCH_KEY_MESSAGES }, { 0, 0 } },
      ALL, 0, "" },

    { batch_string(""), 0, 0, 0,
      { { 0, 0 }, { 0, 0 } },
      ALL, 0, "" }
};


const batch_endpoint_t *
batch_endpoint_find(const batch_str_t *url)
{
    const batch_str_t       *tail;
    const batch_endpoint_t  *e;

    for (e = batch_endpoints; e->known; e++) {
        tail = &e->tail;

        if (url->len >= tail->len
            && memcmp(url->data + url->len - tail->len, tail->data, tail->len)
               == 0)
        {
            break;
        }
    }

    return e;
}
