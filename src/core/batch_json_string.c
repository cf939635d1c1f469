/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The compactor inside of strings.  What is broken there is found here, and
 * mended here.
 */

#include "batch_json_int.h"
#include "batch_escape.h"
#include "batch_utf8.h"

#include <string.h>


/* bytes of \uXXXX, a unit of UTF-16 */
#define BATCH_JSON_UNIT  6


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
batch_json_hold(batch_json_io_t *io)
{
    io->j->held[io->j->nheld++] = *io->p++;
}


void
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


/* what comes in its place was broken */

static void
batch_json_replace(batch_json_io_t *io)
{
    io->j->repaired = 1;

    batch_json_put(io, (const unsigned char *) "\xef\xbf\xbd", 3);
}


/* BATCH_AGAIN: there may be no room for it, the caller has to make more */

static int
batch_json_control(batch_json_io_t *io)
{
    unsigned char  escape[6];

    if (!io->j->wide) {
        io->j->wide = 1;
        return BATCH_AGAIN;
    }

    io->j->repaired = 1;

    batch_json_put(io, escape,
                   (size_t) (batch_escape_string(escape, io->p, 1) - escape));
    io->p++;

    return BATCH_OK;
}


int
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

            if (io->last - p >= 2 && (batch_scan_class[p[1]]
                                      & BATCH_SCAN_ESCAPED))
            {
                batch_json_put(io, p, 2);
                io->p += 2;
                continue;
            }

            batch_json_hold(io);
            j->state = BATCH_JSON_ESCAPE;
            return BATCH_OK;
        }

        if (*p < 0x20) {
            return j->repair ? batch_json_control(io)
                             : batch_json_fail(io, 0, BATCH_SCAN_CONTROL);
        }

        n = batch_utf8_length(p, (size_t) (io->last - p));

        if (n == 0) {

            if (!j->repair) {
                return batch_json_fail(io, 0, BATCH_SCAN_UTF8);
            }

            batch_json_replace(io);
            io->p += batch_utf8_broken(p, (size_t) (io->last - p));
            continue;
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


/* what is held is complete */

static void
batch_json_release(batch_json_io_t *io)
{
    batch_json_put(io, io->j->held, io->j->nheld);

    io->j->nheld = 0;
    io->j->state = BATCH_JSON_STRING;
}


/* the first of the escapes that are held is one half of a pair */

static void
batch_json_alone(batch_json_io_t *io)
{
    batch_json_t  *j;

    j = io->j;

    batch_json_replace(io);

    j->nheld -= BATCH_JSON_UNIT;
    memmove(j->held, j->held + BATCH_JSON_UNIT, j->nheld);

    j->state = BATCH_JSON_STRING;
}


/*
 * \uXXXX is complete.  In pairs surrogates are a character; alone they are what
 * is left of one that was cut, and strict readers refuse the whole line.
 */

static void
batch_json_unit(batch_json_io_t *io)
{
    unsigned       kind;
    batch_json_t  *j;

    j = io->j;
    kind = j->repair ? j->unit & 0xfc00 : 0;

    if (j->nheld > BATCH_JSON_UNIT && kind != 0xdc00) {
        batch_json_alone(io);
    }

    if (kind == 0xd800) {
        j->state = BATCH_JSON_HIGH;

    } else if (kind == 0xdc00 && j->nheld == BATCH_JSON_UNIT) {
        batch_json_alone(io);

    } else {
        batch_json_release(io);
    }
}


static int
batch_json_escape(batch_json_io_t *io)
{
    batch_json_t  *j;

    j = io->j;

    if (*io->p == 'u') {
        j->state = BATCH_JSON_HEX;
        j->sub = 4;
        j->unit = 0;

        batch_json_hold(io);
        return BATCH_OK;
    }

    if (!(batch_scan_class[*io->p] & BATCH_SCAN_ESCAPED)) {
        return batch_json_fail(io, 0, BATCH_SCAN_ESCAPE);
    }

    if (j->nheld > BATCH_JSON_UNIT) {
        batch_json_alone(io);
    }

    batch_json_hold(io);
    batch_json_release(io);

    return BATCH_OK;
}


static int
batch_json_char(batch_json_io_t *io)
{
    int            n;
    batch_json_t  *j;

    j = io->j;

    j->held[j->nheld] = *io->p;
    n = batch_utf8_length(j->held, j->nheld + 1);

    if (n == 0) {

        if (!j->repair) {
            return batch_json_fail(io, j->nheld, BATCH_SCAN_UTF8);
        }

        batch_json_replace(io);
        j->nheld = 0;
        j->state = BATCH_JSON_STRING;
        return BATCH_OK;
    }

    batch_json_hold(io);

    if (n > 0) {
        batch_json_release(io);
    }

    return BATCH_OK;
}


/* one byte of an escape, or of a character that a split has cut */

int
batch_json_string_byte(batch_json_io_t *io)
{
    int            digit;
    batch_json_t  *j;

    j = io->j;

    switch (j->state) {

    case BATCH_JSON_ESCAPE:
        return batch_json_escape(io);

    case BATCH_JSON_HEX:
        digit = batch_scan_hex(*io->p);

        if (digit < 0) {
            return batch_json_fail(io, 0, BATCH_SCAN_ESCAPE);
        }

        j->unit = (j->unit << 4) | (unsigned) digit;
        batch_json_hold(io);

        if (--j->sub == 0) {
            batch_json_unit(io);
        }

        return BATCH_OK;

    case BATCH_JSON_HIGH:
        if (*io->p == '\\') {
            batch_json_hold(io);
            j->state = BATCH_JSON_ESCAPE;

        } else {
            batch_json_alone(io);
        }

        return BATCH_OK;

    default: /* BATCH_JSON_CHAR */
        return batch_json_char(io);
    }
}
