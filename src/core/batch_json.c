/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The streaming compactor: a state machine over bytes that can stop and go on
 * anywhere.  This file is its frame; the insides of strings, the only ones of
 * which runs are copied in larger pieces, are batch_json_string.c's.
 */

#include "batch_json_int.h"

#include <string.h>


/* the last ones are JSON for Python and JavaScript only */

static const char  *const batch_json_words[] = {
    "true", "false", "null", "NaN", "Infinity"
};

#define BATCH_JSON_WORDS     3
#define BATCH_JSON_NAN       3
#define BATCH_JSON_INFINITY  4
#define BATCH_JSON_ALL       5


void
batch_json_init(batch_json_t *j)
{
    memset(j, 0, sizeof(batch_json_t));
}


/* 1 if an object is open at the current depth, 0 if an array is */

static int
batch_json_in_object(const batch_json_t *j)
{
    unsigned  i;

    i = j->depth - 1;

    return (int) (j->stack[i >> 6] >> (i & 63)) & 1;
}


static void
batch_json_number_end(batch_json_t *j)
{
    j->state = BATCH_JSON_AFTER;

    if (j->flags & BATCH_JSON_COUNT) {
        batch_json_read_count(j);
    }
}


/* one byte of a number that is to be read; state: what it belongs to */

static void
batch_json_number_read(batch_json_t *j, unsigned state, unsigned char c)
{
    switch (state) {

    case BATCH_JSON_ZERO:
    case BATCH_JSON_INT:
        batch_json_read_digit(j, c - '0', 0);
        break;

    case BATCH_JSON_FRAC:
        batch_json_read_digit(j, c - '0', 1);
        break;

    case BATCH_JSON_SIGN:
        if (c == '-') {
            j->flags |= BATCH_JSON_SHRINK;
        }

        break;

    case BATCH_JSON_POWER:
        batch_json_read_power(j, c - '0');
        break;
    }
}


static void
batch_json_number_begin(batch_json_t *j, unsigned char c)
{
    batch_json_read_number(j);

    if (c == '-') {
        j->flags |= BATCH_JSON_NEGATIVE;
        j->state = BATCH_JSON_MINUS;
        return;
    }

    j->flags &= ~BATCH_JSON_NEGATIVE;
    j->state = (c == '0') ? BATCH_JSON_ZERO : BATCH_JSON_INT;

    if (j->flags & BATCH_JSON_COUNT) {
        batch_json_number_read(j, j->state, c);
    }
}


static unsigned
batch_json_number_class(unsigned char c)
{
    switch (c) {
    case '0':
        return 0;
    case '.':
        return 2;
    case 'e':
    case 'E':
        return 3;
    case '+':
    case '-':
        return 4;
    default:
        return (c >= '1' && c <= '9') ? 1 : 5;
    }
}


static int
batch_json_number(batch_json_io_t *io)
{
    unsigned       next;
    batch_json_t  *j;

#define X  BATCH_JSON_FAILED
#define E  BATCH_JSON_AFTER

    static const unsigned char  table[8][6] = {
        /*             0                 1..9              .
                       e                 sign              else */
        /* MINUS */  { BATCH_JSON_ZERO,  BATCH_JSON_INT,   X, X, X, X },
        /* ZERO */   { X, X, BATCH_JSON_DOT, BATCH_JSON_EXP, E, E },
        /* INT */    { BATCH_JSON_INT,   BATCH_JSON_INT,
                       BATCH_JSON_DOT,   BATCH_JSON_EXP,   E, E },
        /* DOT */    { BATCH_JSON_FRAC,  BATCH_JSON_FRAC,  X, X, X, X },
        /* FRAC */   { BATCH_JSON_FRAC,  BATCH_JSON_FRAC,
                       E,                BATCH_JSON_EXP,   E, E },
        /* EXP */    { BATCH_JSON_POWER, BATCH_JSON_POWER, X, X,
                       BATCH_JSON_SIGN,  X },
        /* SIGN */   { BATCH_JSON_POWER, BATCH_JSON_POWER, X, X, X, X },
        /* POWER */  { BATCH_JSON_POWER, BATCH_JSON_POWER, E, E, E, E }
    };

    j = io->j;

    while (io->p < io->last) {
        next = table[j->state - BATCH_JSON_MINUS]
                    [batch_json_number_class(*io->p)];

        if (next == X) {
            return batch_json_fail(io, 0, BATCH_SCAN_NUMBER);
        }

        if (next == E) {
            batch_json_number_end(j);
            return BATCH_OK;
        }

        if (j->flags & BATCH_JSON_COUNT) {
            batch_json_number_read(j, next, *io->p);
        }

        j->state = next;
        *io->out++ = *io->p++;
    }

#undef X
#undef E

    return BATCH_OK;
}


static void
batch_json_word(batch_json_t *j, unsigned word)
{
    j->flags = (j->flags & ~BATCH_JSON_WORD) | word;
    j->sub = 0;
    j->state = BATCH_JSON_LITERAL;
}


static int
batch_json_minus(batch_json_io_t *io)
{
    if (*io->p == 'I' && io->j->repair) {
        batch_json_word(io->j, BATCH_JSON_INFINITY);
        return BATCH_OK;
    }

    *io->out++ = '-';

    return batch_json_number(io);
}


static int
batch_json_open(batch_json_io_t *io)
{
    uint64_t       bit;
    batch_json_t  *j;

    j = io->j;

    if (j->depth == BATCH_JSON_MAX_DEPTH) {
        return batch_json_fail(io, 0, BATCH_SCAN_DEEP);
    }

    bit = (uint64_t) 1 << (j->depth & 63);

    if (*io->p == '{') {
        j->stack[j->depth >> 6] |= bit;
        j->state = BATCH_JSON_MEMBER;

    } else {
        j->stack[j->depth >> 6] &= ~bit;
        j->state = BATCH_JSON_ELEMENT;
    }

    j->depth++;

    batch_json_read_open(j);

    *io->out++ = *io->p++;

    return BATCH_OK;
}


static int
batch_json_value(batch_json_io_t *io)
{
    unsigned       n, word;
    batch_json_t  *j;
    unsigned char  c;

    j = io->j;
    c = *io->p;

    if (c == '{' || c == '[') {
        return batch_json_open(io);
    }

    if (c == '"') {
        batch_json_string_begin(j, 0);
        *io->out++ = *io->p++;
        return BATCH_OK;
    }

    if (c == '-') {
        batch_json_number_begin(j, c);
        io->p++;
        return BATCH_OK;
    }

    if (c >= '0' && c <= '9') {
        batch_json_number_begin(j, c);
        *io->out++ = *io->p++;
        return BATCH_OK;
    }

    n = j->repair ? BATCH_JSON_ALL : BATCH_JSON_WORDS;

    for (word = 0; word < n; word++) {
        if (c == (unsigned char) batch_json_words[word][0]) {
            batch_json_word(j, word);
            return BATCH_OK;
        }
    }

    return batch_json_fail(io, 0, BATCH_SCAN_BYTE);
}


static int
batch_json_literal(batch_json_io_t *io)
{
    unsigned       n;
    const char    *word;
    batch_json_t  *j;

    j = io->j;
    n = j->flags & BATCH_JSON_WORD;
    word = batch_json_words[n];

    while (word[j->sub] != '\0') {

        if (io->p == io->last) {
            return BATCH_OK;
        }

        if (*io->p != (unsigned char) word[j->sub]) {
            return batch_json_fail(io, j->sub, BATCH_SCAN_LITERAL);
        }

        j->sub++;
        io->p++;
    }

    if (n >= BATCH_JSON_NAN) {
        word = "null";
        j->sub = 4;
        j->repaired = 1;
    }

    memcpy(io->out, word, j->sub);
    io->out += j->sub;

    j->state = BATCH_JSON_AFTER;

    return BATCH_OK;
}


/* after a value, or after an opening bracket that may be closed at once */

static int
batch_json_after(batch_json_io_t *io)
{
    int            object;
    batch_json_t  *j;

    j = io->j;

    if (j->depth == 0) {
        return batch_json_fail(io, 0, BATCH_SCAN_TEXT);
    }

    object = batch_json_in_object(j);

    if (*io->p == ',') {
        j->state = object ? BATCH_JSON_KEY : BATCH_JSON_VALUE;

    } else if (*io->p == (object ? '}' : ']')) {
        j->depth--;
        j->state = BATCH_JSON_AFTER;

    } else {
        return batch_json_fail(io, 0, BATCH_SCAN_COMMA);
    }

    *io->out++ = *io->p++;

    return BATCH_OK;
}


static int
batch_json_key(batch_json_io_t *io)
{
    if (*io->p != '"') {
        return batch_json_fail(io, 0, BATCH_SCAN_KEY);
    }

    *io->out++ = *io->p++;
    batch_json_string_begin(io->j, 1);

    return BATCH_OK;
}


static int
batch_json_bom(batch_json_io_t *io)
{
    batch_json_t                *j;
    static const unsigned char   bom[] = { 0xef, 0xbb, 0xbf };

    j = io->j;

    if (*io->p != bom[j->sub]) {
        return batch_json_fail(io, j->sub, BATCH_SCAN_BYTE);
    }

    io->p++;
    j->state = (++j->sub == sizeof(bom)) ? BATCH_JSON_VALUE : BATCH_JSON_BOM;

    return BATCH_OK;
}


/* one byte between tokens */

static int
batch_json_structure(batch_json_io_t *io)
{
    batch_json_t  *j;

    j = io->j;

    if (j->state == BATCH_JSON_START) {
        j->sub = 0;
        j->state = (*io->p == 0xef) ? BATCH_JSON_BOM : BATCH_JSON_VALUE;
        return BATCH_OK;
    }

    if (*io->p == ' ' || *io->p == '\n' || *io->p == '\r' || *io->p == '\t') {
        io->p++;
        return BATCH_OK;
    }

    switch (j->state) {

    case BATCH_JSON_ELEMENT:
        return (*io->p == ']') ? batch_json_after(io) : batch_json_value(io);

    case BATCH_JSON_MEMBER:
        return (*io->p == '}') ? batch_json_after(io) : batch_json_key(io);

    case BATCH_JSON_KEY:
        return batch_json_key(io);

    case BATCH_JSON_COLON:
        if (*io->p != ':') {
            return batch_json_fail(io, 0, BATCH_SCAN_COLON);
        }

        *io->out++ = *io->p++;
        j->state = BATCH_JSON_VALUE;
        return BATCH_OK;

    case BATCH_JSON_AFTER:
        return batch_json_after(io);

    default: /* BATCH_JSON_VALUE */
        return batch_json_value(io);
    }
}


unsigned char *
batch_json_feed(batch_json_t *j, const unsigned char *in, size_t len,
    unsigned char *out)
{
    int              rc;
    batch_json_io_t  io;

    if (j->state == BATCH_JSON_FAILED) {
        return NULL;
    }

    io.j = j;
    io.p = in;
    io.last = in + len;
    io.out = out;

    while (io.p < io.last) {

        if (j->state == BATCH_JSON_STRING) {
            rc = batch_json_string(&io);

        } else if (j->state > BATCH_JSON_MINUS) {
            rc = batch_json_number(&io);

        } else if (j->state == BATCH_JSON_MINUS) {
            rc = batch_json_minus(&io);

        } else if (j->state >= BATCH_JSON_ESCAPE) {
            rc = batch_json_string_byte(&io);

        } else if (j->state == BATCH_JSON_LITERAL) {
            rc = batch_json_literal(&io);

        } else if (j->state == BATCH_JSON_BOM) {
            rc = batch_json_bom(&io);

        } else {
            rc = batch_json_structure(&io);
        }

        if (rc == BATCH_AGAIN) {
            break;
        }

        if (rc != BATCH_OK) {
            j->offset += (uint64_t) (io.p - in) - j->sub;
            j->state = BATCH_JSON_FAILED;
            return NULL;
        }
    }

    j->offset += (uint64_t) (io.p - in);

    return io.out;
}


int
batch_json_finish(batch_json_t *j)
{
    if (j->state == BATCH_JSON_FAILED) {
        return BATCH_ERROR;
    }

    if (j->depth == 0
        && (j->state == BATCH_JSON_ZERO || j->state == BATCH_JSON_INT
            || j->state == BATCH_JSON_FRAC || j->state == BATCH_JSON_POWER))
    {
        batch_json_number_end(j);
    }

    if (j->depth != 0 || j->state != BATCH_JSON_AFTER) {
        j->error = BATCH_SCAN_END;
        j->state = BATCH_JSON_FAILED;
        return BATCH_ERROR;
    }

    batch_json_read_end(j);

    return BATCH_OK;
}
