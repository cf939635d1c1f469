/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The streaming compactor: a state machine over bytes that can stop and go on
 * anywhere.  Only runs of plain bytes in strings are copied in larger pieces.
 */

#include "batch_json_read.h"
#include "batch_scan.h"
#include "batch_utf8.h"

#include <string.h>


enum {
    BATCH_JSON_START = 0,            /* a byte-order mark may come */
    BATCH_JSON_BOM,                  /* sub: bytes of it seen */
    BATCH_JSON_VALUE,
    BATCH_JSON_ELEMENT,              /* a value or ] */
    BATCH_JSON_KEY,
    BATCH_JSON_MEMBER,               /* a key or } */
    BATCH_JSON_COLON,
    BATCH_JSON_AFTER,                /* a value has ended */
    BATCH_JSON_LITERAL,              /* sub: bytes seen, flags: which */
    BATCH_JSON_STRING,
    BATCH_JSON_ESCAPE,
    BATCH_JSON_HEX,                  /* sub: digits to come */
    BATCH_JSON_CHAR,                 /* held: the character so far */
    BATCH_JSON_MINUS,                /* the numbers' states are the last ones */
    BATCH_JSON_ZERO,
    BATCH_JSON_INT,
    BATCH_JSON_DOT,
    BATCH_JSON_FRAC,
    BATCH_JSON_EXP,
    BATCH_JSON_SIGN,
    BATCH_JSON_POWER,
    BATCH_JSON_FAILED
};

typedef struct {
    batch_json_t         *j;
    const unsigned char  *p;
    const unsigned char  *last;
    unsigned char        *out;
} batch_json_io_t;


static const char  *const batch_json_words[] = { "true", "false", "null" };


void
batch_json_init(batch_json_t *j)
{
    memset(j, 0, sizeof(batch_json_t));
}


/* back: bytes of the defect that lie before io->p, perhaps in earlier pieces */

static int
batch_json_fail(batch_json_io_t *io, unsigned back, const char *error)
{
    io->j->error = error;
    io->j->sub = back;

    return BATCH_ERROR;
}


/* 1 if an object is open at the current depth, 0 if an array is */

static int
batch_json_in_object(const batch_json_t *j)
{
    unsigned  i;

    i = j->depth - 1;

    return (int) (j->stack[i >> 6] >> (i & 63)) & 1;
}


/* a whole character, ASCII or not */

static void
batch_json_put(batch_json_io_t *io, const unsigned char *p, size_t n)
{
    unsigned char  *start;

    start = io->out;

    if (n == 2 && p[0] == 0xc2 && p[1] == 0x85) {
        memcpy(io->out, "\\u0085", 6);
        io->out += 6;

    } else if (n == 3 && p[0] == 0xe2 && p[1] == 0x80
               && (p[2] == 0xa8 || p[2] == 0xa9))
    {
        memcpy(io->out, p[2] == 0xa8 ? "\\u2028" : "\\u2029", 6);
        io->out += 6;

    } else {
        memcpy(io->out, p, n);
        io->out += n;
    }

    batch_json_read_string(io->j, start, (size_t) (io->out - start));
}


static void
batch_json_string_begin(batch_json_t *j, int key)
{
    j->state = BATCH_JSON_STRING;
    batch_json_read_begin(j, key);
}


static void
batch_json_string_end(batch_json_t *j)
{
    if (!(j->flags & BATCH_JSON_IN_KEY)) {
        j->state = BATCH_JSON_AFTER;
        return;
    }

    j->state = BATCH_JSON_COLON;
    batch_json_read_key(j);
}


/* from io->p on, as far as it goes without an escape */

static int
batch_json_string(batch_json_io_t *io)
{
    int                   n;
    batch_json_t         *j;
    const unsigned char  *p;

    j = io->j;

    for ( ;; ) {
        p = io->p;
        io->p = batch_scan_plain(p, io->last);

        if (io->p != p) {
            memcpy(io->out, p, (size_t) (io->p - p));
            io->out += io->p - p;
            batch_json_read_string(j, p, (size_t) (io->p - p));
        }

        if (io->p == io->last) {
            return BATCH_OK;
        }

        p = io->p;

        if (*p == '"') {
            *io->out++ = '"';
            io->p++;
            batch_json_string_end(j);
            return BATCH_OK;
        }

        if (*p == '\\') {
            batch_json_put(io, p, 1);
            io->p++;
            j->state = BATCH_JSON_ESCAPE;
            return BATCH_OK;
        }

        if (*p < 0x20) {
            return batch_json_fail(io, 0, BATCH_SCAN_CONTROL);
        }

        n = batch_utf8_length(p, (size_t) (io->last - p));

        if (n == 0) {
            return batch_json_fail(io, 0, BATCH_SCAN_UTF8);
        }

        if (n < 0) {
            j->nheld = (unsigned) (io->last - p);
            memcpy(j->held, p, j->nheld);
            io->p = io->last;
            j->state = BATCH_JSON_CHAR;
            return BATCH_OK;
        }

        batch_json_put(io, p, (size_t) n);
        io->p += n;
    }
}


/* one byte of an escape or of a character that a split has cut */

static int
batch_json_string_byte(batch_json_io_t *io)
{
    int            n;
    batch_json_t  *j;

    j = io->j;

    switch (j->state) {

    case BATCH_JSON_ESCAPE:
        if (*io->p == 'u') {
            j->state = BATCH_JSON_HEX;
            j->sub = 4;

        } else if (batch_scan_class[*io->p] & BATCH_SCAN_ESCAPED) {
            j->state = BATCH_JSON_STRING;

        } else {
            return batch_json_fail(io, 0, BATCH_SCAN_ESCAPE);
        }

        batch_json_put(io, io->p++, 1);
        return BATCH_OK;

    case BATCH_JSON_HEX:
        if (batch_scan_hex(*io->p) < 0) {
            return batch_json_fail(io, 0, BATCH_SCAN_ESCAPE);
        }

        batch_json_put(io, io->p++, 1);

        if (--j->sub == 0) {
            j->state = BATCH_JSON_STRING;
        }

        return BATCH_OK;

    default: /* BATCH_JSON_CHAR */
        j->held[j->nheld] = *io->p;
        n = batch_utf8_length(j->held, j->nheld + 1);

        if (n == 0) {
            return batch_json_fail(io, j->nheld, BATCH_SCAN_UTF8);
        }

        j->nheld++;
        io->p++;

        if (n > 0) {
            batch_json_put(io, j->held, j->nheld);
            j->nheld = 0;
            j->state = BATCH_JSON_STRING;
        }

        return BATCH_OK;
    }
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
    unsigned       word;
    batch_json_t  *j;
    unsigned char  c;

    j = io->j;
    c = *io->p;

    if (c == '{' || c == '[') {
        return batch_json_open(io);
    }

    if (c == '"') {
        batch_json_string_begin(j, 0);

    } else if (c == '-' || (c >= '0' && c <= '9')) {
        batch_json_number_begin(j, c);

    } else {

        for (word = 0; word < 3; word++) {
            if (c == (unsigned char) batch_json_words[word][0]) {
                break;
            }
        }

        if (word == 3) {
            return batch_json_fail(io, 0, BATCH_SCAN_BYTE);
        }

        j->flags = (j->flags & ~BATCH_JSON_WORD) | word;
        j->sub = 1;
        j->state = BATCH_JSON_LITERAL;
    }

    *io->out++ = *io->p++;

    return BATCH_OK;
}


static int
batch_json_literal(batch_json_io_t *io)
{
    const char    *word;
    batch_json_t  *j;

    j = io->j;
    word = batch_json_words[j->flags & BATCH_JSON_WORD];

    if (*io->p != (unsigned char) word[j->sub]) {
        return batch_json_fail(io, j->sub, BATCH_SCAN_LITERAL);
    }

    *io->out++ = *io->p++;

    if (word[++j->sub] == '\0') {
        j->state = BATCH_JSON_AFTER;
    }

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

        } else if (j->state >= BATCH_JSON_MINUS) {
            rc = batch_json_number(&io);

        } else if (j->state >= BATCH_JSON_ESCAPE) {
            rc = batch_json_string_byte(&io);

        } else if (j->state == BATCH_JSON_LITERAL) {
            rc = batch_json_literal(&io);

        } else if (j->state == BATCH_JSON_BOM) {
            rc = batch_json_bom(&io);

        } else {
            rc = batch_json_structure(&io);
        }

        if (rc != BATCH_OK) {
            j->offset += (uint64_t) (io.p - in) - j->sub;
            j->state = BATCH_JSON_FAILED;
            return NULL;
        }
    }

    j->offset += len;

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
