/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What is read from an answer while batch_json.c makes it one line: "model" and
 * "usage".  Private to those two files; j is batch_json_feed()'s.
 */

#ifndef _BATCH_JSON_READ_H_INCLUDED_
#define _BATCH_JSON_READ_H_INCLUDED_

#include "batch_json.h"

/* flags; the low bits say which literal */
#define BATCH_JSON_WORD        0x07
#define BATCH_JSON_IN_KEY      0x08      /* the string is a key */
#define BATCH_JSON_KEEP_KEY    0x10      /* ... that may be a known one */
#define BATCH_JSON_KEEP_MODEL  0x20      /* the string is the model */
#define BATCH_JSON_NEGATIVE    0x40
#define BATCH_JSON_TOTAL       0x80      /* there was total_tokens */
#define BATCH_JSON_CACHED      0x100     /* there were details: cached_tokens */
#define BATCH_JSON_REASONING   0x200     /* ... reasoning_tokens */
#define BATCH_JSON_COUNT       0x400     /* the number is one of usage */
#define BATCH_JSON_SHRINK      0x800     /* its exponent is negative */

/* a string begins: a key, or a value of the current key */
void batch_json_read_begin(batch_json_t *j, int key);

/* n bytes of it have been written out */
void batch_json_read_string(batch_json_t *j, const unsigned char *p, size_t n);

/* a key has ended */
void batch_json_read_key(batch_json_t *j);

/* an object or an array has been opened, at the current depth */
void batch_json_read_open(batch_json_t *j);

/* A number begins: sets BATCH_JSON_COUNT if it is to be read.  Then its digits,
 * those of the exponent apart, and its end. */
void batch_json_read_number(batch_json_t *j);
void batch_json_read_digit(batch_json_t *j, unsigned digit, int fraction);
void batch_json_read_power(batch_json_t *j, unsigned digit);
void batch_json_read_count(batch_json_t *j);

/* the answer has ended */
void batch_json_read_end(batch_json_t *j);

#endif /* _BATCH_JSON_READ_H_INCLUDED_ */
