/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the body of a line must have, and must not have, by its endpoint.  A
 * line that an inference server would accept is not refused, so only what every
 * one of them demands is demanded:
 *
 *   ends with            model  demanded                by
 *   /chat/completions    yes    messages                OpenAI, all engines
 *   /embeddings          yes    input, messages or      OpenAI; vLLM (images by
 *                               content                 messages); llama.cpp
 *   /completions         yes    prompt, prompt_embeds   OpenAI; vLLM
 *   /responses           no     -                       OpenAI: a stored prompt
 *                                                       has both
 *   /moderations         no     input                   OpenAI: the model has a
 *                                                       default
 *   /images/generations  no     prompt                  OpenAI: the same
 *   /images/edits        no     prompt                  OpenAI: the same
 *   /rerank              no     query; documents        Cohere, Jina, vLLM; TEI
 *                               or texts                and llama.cpp (texts);
 *                                                       SGLang has no model
 *   /score               no     -                       vLLM has had three
 *                                                       pairs of names, SGLang
 *                                                       has a fourth
 *   /messages            yes    messages                Anthropic.  It demands
 *                                                       max_tokens, too, for
 *                                                       which llama.cpp has a
 *                                                       default
 *   any other            no     -
 *
 * "stream": true is refused everywhere, "background": true in /responses: an
 * engine answers "queued" at once, and nobody would fetch what comes later.
 *
 * Sources: OpenAI's API reference (chat, completions, embeddings, responses,
 * moderations, images, batch), Anthropic's (messages), Cohere's and Jina's
 * (rerank); vLLM, "OpenAI-compatible server" and entrypoints/pooling; SGLang,
 * entrypoints/openai/protocol.py; llama.cpp, tools/server/README.md;
 * text-embeddings-inference, its OpenAPI.
 */

#ifndef _BATCH_ENDPOINT_H_INCLUDED_
#define _BATCH_ENDPOINT_H_INCLUDED_

#include "batch_core.h"

/* the keys that are looked for in a body */

typedef enum {
    BATCH_KEY_MODEL = 0,
    BATCH_KEY_INPUT,
    BATCH_KEY_QUERY,
    BATCH_KEY_TEXTS,
    BATCH_KEY_STREAM,
    BATCH_KEY_PROMPT,
    BATCH_KEY_CONTENT,
    BATCH_KEY_MESSAGES,
    BATCH_KEY_DOCUMENTS,
    BATCH_KEY_BACKGROUND,
    BATCH_KEY_PROMPT_EMBEDS,
    BATCH_KEY_STREAM_OPTIONS,
    BATCH_KEY_N
} batch_key_e;

#define batch_key(k)           (1u << (k))

#define BATCH_ENDPOINT_NEEDS   2

typedef struct {
    batch_str_t    tail;         /* of the url */
    unsigned       known;        /* not just any endpoint */
    unsigned       model;        /* it is demanded */
    unsigned       settled;      /* needs have always been these, or more: no
                                    store has a valid line without them */
    struct {
        unsigned   any;          /* of these keys one is demanded; 0: no more */
        unsigned   first;        /* the one that errors name */
    } needs[BATCH_ENDPOINT_NEEDS];
    unsigned       keys;         /* all that are looked for */
    unsigned       counted;      /* elements of input are counted */
    const char    *prefix;       /* of the message about stream */
} batch_endpoint_t;

/* the row of a url, decoded; the last one for those that are not known */
const batch_endpoint_t *batch_endpoint_find(const batch_str_t *url);

#endif /* _BATCH_ENDPOINT_H_INCLUDED_ */
