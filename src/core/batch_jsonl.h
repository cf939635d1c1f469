/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * One line of a batch's input file: where the values are that we act on, and
 * what is wrong with it.  One pass, no allocation, no recursion; the bytes of
 * the body are never changed, only pointed to.
 *
 * JSON is strict RFC 8259 with valid UTF-8 (no overlong, no surrogates, no
 * > U+10FFFF), nested up to BATCH_JSON_MAX_DEPTH.  Escaped surrogates conform
 * to the grammar in any order, and pass.  The keys that we act on (custom_id,
 * method, url, body; in body: model, stream, messages, input) are recognised
 * even with escapes, and refused when they occur twice.
 */

#ifndef _BATCH_JSONL_H_INCLUDED_
#define _BATCH_JSONL_H_INCLUDED_

#include "batch_core.h"

#define BATCH_JSON_MAX_DEPTH     512
#define BATCH_CUSTOM_ID_MAX      512     /* bytes, decoded */
#define BATCH_ERROR_MSG_MAX      512

typedef struct {
    /* raw JSON tokens, quotes included; len 0 = absent */
    batch_str_t    custom_id;
    batch_str_t    method;
    batch_str_t    url;
    batch_str_t    body;         /* exact bytes of the object, { to } */
    batch_str_t    model;        /* body.model */
    uint64_t       inputs;       /* embeddings: elements of body.input (a
                                    string or an array of numbers is one);
                                    0 for other endpoints */
} batch_line_t;

typedef struct {
    const char    *code;         /* "invalid_json_line", ...; static */
    const char    *param;        /* "body.model", ...; static, NULL = null */
    char           message[BATCH_ERROR_MSG_MAX];  /* UTF-8, NUL-terminated */
} batch_line_error_t;

/*
 * Parses the line p[0..len), without its newline (a CR at the end is white
 * space).  BATCH_OK, or BATCH_ERROR with the first defect in err (codes and
 * wording as in the table of validation in docs/API.md):
 *   invalid_json_line             not JSON, not an object, duplicate key, too
 *                                 deep, bad UTF-8: the message says which and
 *                                 at which byte (the first one is 1)
 *   missing_required_parameter    custom_id, method, url, body; body.model;
 *                                 body.messages (chat), body.input (embeddings)
 *   invalid_type                  a known key of another type
 *   invalid_value                 custom_id empty or longer than 512 bytes
 *   invalid_method                anything but "POST"
 *   invalid_url                   decoded url is not byte for byte endpoint
 *   streaming_unsupported         body.stream is true (null is as absent)
 * The order of the checks is: JSON, custom_id, method, url, body, model,
 * stream, messages or input.  If the line is JSON, line is filled even when a
 * later check fails (inputs is 0 then).
 *
 * endpoint: "/v1/chat/completions", ...  model_optional: body.model may be
 * missing.
 */
int batch_jsonl_parse(const unsigned char *p, size_t len,
    const batch_str_t *endpoint, int model_optional, batch_line_t *line,
    batch_line_error_t *err);

/* 1 if the line holds nothing but JSON's white space (not \v, \f) */
int batch_jsonl_blank(const unsigned char *p, size_t len);

#endif /* _BATCH_JSONL_H_INCLUDED_ */
