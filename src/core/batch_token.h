/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * JSON string tokens, quotes included, that batch_jsonl_parse() or another
 * strict scanner has accepted -> the bytes they stand for.
 */

#ifndef _BATCH_TOKEN_H_INCLUDED_
#define _BATCH_TOKEN_H_INCLUDED_

#include "batch_core.h"

/*
 * Writes at most cap bytes to out and returns the decoded length (which may
 * exceed cap: then out is cut, maybe inside a character).  A lone escaped
 * surrogate decodes to its three-byte WTF-8 form, so distinct tokens of
 * distinct strings stay distinct.
 */
size_t batch_token_decode(const batch_str_t *token, unsigned char *out,
    size_t cap);

/* 1 if both tokens decode to the same string */
int batch_token_eq(const batch_str_t *a, const batch_str_t *b);

#endif /* _BATCH_TOKEN_H_INCLUDED_ */
