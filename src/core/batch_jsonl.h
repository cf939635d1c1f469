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
 * method, url, body; those of batch_endpoint.h in body) are recognised even
 * with escapes, and refused when they occur twice.
 */

#ifndef _BATCH_JSONL_H_INCLUDED_
#define _BATCH_JSONL_H_INCLUDED_

#include "batch_endpoint.h"

#define BATCH_JSON_MAX_DEPTH     512
#define BATCH_CUSTOM_ID_MAX      512     /* bytes, decoded */
#define BATCH_ERROR_MSG_MAX      512

/* an endpoint that lines may name */

typedef struct {
    batch_str_t              url;       /* decoded, with its slash */
    const batch_endpoint_t  *needs;
} batch_target_t;

/* what a batch demands of its lines */

typedef struct {
    const batch_target_t    *targets;   /* the first one is the batch's own; of
                                           a strict batch the only one */
    unsigned                 ntargets;
    unsigned                 keys;      /* of all targets */
    batch_str_t              model;     /* lenient: the token that bodies
                                           without one get; len 0: none */
    unsigned                 lenient:1;
    unsigned                 model_optional:1;
    unsigned                 checked:1; /* the lines were valid, maybe to an
                                           older module: what is not settled is
                                           not asked again */
} batch_rules_t;

#define BATCH_LINE_DROPS     2

typedef struct {
    /* raw JSON tokens, quotes included; len 0 = absent */
    batch_str_t    custom_id;
    batch_str_t    method;
    batch_str_t    url;
    batch_str_t    body;         /* exact bytes of the object, { to } */
    batch_str_t    model;        /* body.model, if it is a string */
    unsigned       target;       /* whose url it is, of the rules' targets */
    uint64_t       inputs;       /* embeddings: elements of body.input (a
                                    string, an array of numbers or a chat is
                                    one); 0 for other endpoints */
    unsigned       ndrops;       /* lenient: values of members of the body that
                                    are not sent, in order; batch_splice.h */
    batch_str_t    drops[BATCH_LINE_DROPS];
} batch_line_t;

typedef struct {
    const char    *code;         /* "invalid_json_line", ...; static */
    const char    *param;        /* "body.model", ...; static, NULL = null */
    char           message[BATCH_ERROR_MSG_MAX];  /* UTF-8, NUL-terminated */
} batch_line_error_t;

/* sets needs of the n targets, and all of the rules; strict ones */
void batch_rules_init(batch_rules_t *rules, batch_target_t *targets,
    unsigned n);

/*
 * Parses the line p[0..len), without its newline (a CR at the end is white
 * space).  BATCH_OK, or BATCH_ERROR with the first defect in err (codes and
 * wording as in the table of validation in docs/API.md):
 *   invalid_json_line             not JSON, not an object, duplicate key, too
 *                                 deep, bad UTF-8: the message says which and
 *                                 at which byte (the first one is 1)
 *   missing_required_parameter    custom_id, method, url, body; of the body
 *                                 model and what the endpoint demands
 *   invalid_type                  one of these of another type
 *   invalid_value                 custom_id empty or longer than 512 bytes
 *   invalid_method                anything but "POST"
 *   invalid_url                   decoded url is not byte for byte a target's
 *   streaming_unsupported         body.stream is true (null is as absent)
 *   background_unsupported        body.background is, of /responses
 * The order of the checks is: JSON, custom_id, method, url, body, model,
 * stream, background, what the endpoint demands.  If the line is JSON, line is
 * filled even when a later check fails (target, inputs and ndrops are 0 then).
 *
 * Lenient rules: method, url and model may be missing, and a url may lack its
 * slash; stream and stream_options are no defect, but to be dropped.
 */
int batch_jsonl_parse(const unsigned char *p, size_t len,
    const batch_rules_t *rules, batch_line_t *line, batch_line_error_t *err);

/* 1 if the line holds nothing but JSON's white space (not \v, \f) */
int batch_jsonl_blank(const unsigned char *p, size_t len);

#endif /* _BATCH_JSONL_H_INCLUDED_ */
