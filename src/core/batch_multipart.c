/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Framing of a multipart body: delimiters, header lines, data.  What a part's
 * headers say is read in batch_part.c.
 */

#include "batch_multipart.h"
#include "batch_params.h"
#include "batch_part.h"

#include <string.h>

#if defined(__SSE2__) && !defined(BATCH_NO_SIMD)
#include <emmintrin.h>
#define BATCH_MP_SSE2  1
#endif


#define BATCH_MP_CONTINUE  -1        /* no event yet */


enum {
    BATCH_MP_PREAMBLE = 0,
    BATCH_MP_DELIM,                  /* after --boundary */
    BATCH_MP_DASH,                   /* after --boundary- */
    BATCH_MP_PADDING,                /* white space after --boundary */
    BATCH_MP_CR,                     /* the CR of its line */
    BATCH_MP_HEADERS,
    BATCH_MP_BODY,
    BATCH_MP_EPILOGUE,
    BATCH_MP_FAILED
};


static int
batch_multipart_fail(batch_multipart_t *mp, const char *error)
{
    mp->state = BATCH_MP_FAILED;
    mp->error = error;

    return BATCH_MP_ERROR;
}


static int
batch_multipart_boundary_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')
           || (c >= 'a' && c <= 'z')
           || (c && strchr("'()+_,-./:=? ", c) != NULL);
}


/* NULL, or what is wrong with it */

static const char *
batch_multipart_boundary(batch_multipart_t *mp, const batch_str_t *value,
    int quoted)
{
    size_t         i, len;
    unsigned char  buf[2 * BATCH_MP_MAX_BOUNDARY];

    if (mp->delim_len) {
        return "Content-Type has more than one boundary.";
    }

    len = value->len;

    if (len <= sizeof(buf)) {
        memcpy(buf, value->data, len);

        if (quoted) {
            len = batch_params_unquote(buf, len);
        }
    }

    if (len == 0 || len > BATCH_MP_MAX_BOUNDARY) {
        return "The boundary in Content-Type must have 1 to 70 characters.";
    }

    for (i = 0; i < len; i++) {
        if (!batch_multipart_boundary_char(buf[i])) {
            return "The boundary in Content-Type has an invalid character.";
        }
    }

    if (buf[len - 1] == ' ') {
        return "The boundary in Content-Type ends with a space.";
    }

    memcpy(mp->delim, "\r\n--", 4);
    memcpy(mp->delim + 4, buf, len);
    mp->delim_len = len + 4;

    return NULL;
}


int
batch_multipart_init(batch_multipart_t *mp, const unsigned char *type,
    size_t len)
{
    int             rc, quoted;
    batch_str_t     word, name, value;
    batch_params_t  params;

    memset(mp, 0, offsetof(batch_multipart_t, header));
    mp->state = BATCH_MP_FAILED;

    batch_params_init(&params, type, len, &word);

    if (!batch_params_is(&word, "multipart/form-data")) {
        mp->error = "Content-Type must be multipart/form-data.";
        return BATCH_ERROR;
    }

    for ( ;; ) {
        rc = batch_params_next(&params, &name, &value, &quoted);

        if (rc == BATCH_AGAIN) {
            break;
        }

        if (rc == BATCH_ERROR) {
            mp->error = "Content-Type has malformed parameters.";
            return BATCH_ERROR;
        }

        if (batch_params_is(&name, "boundary")) {
            mp->error = batch_multipart_boundary(mp, &value, quoted);
        }

        if (mp->error) {
            return BATCH_ERROR;
        }
    }

    if (mp->delim_len == 0) {
        mp->error = "Content-Type has no boundary.";
        return BATCH_ERROR;
    }

    /* the body's first line may be a delimiter: as if a CRLF preceded it */

    mp->state = BATCH_MP_PREAMBLE;
    mp->lead = 2;
    mp->matched = 2;

    return BATCH_OK;
}


/* a quick look at n bytes that begin like a delimiter: 0 if they are not one */

static inline int
batch_multipart_maybe(const batch_multipart_t *mp, const unsigned char *p,
    size_t n)
{
    if (n < 8 || mp->delim_len < 8) {
        return 1;
    }

    return memcmp(p, mp->delim, 8) == 0;
}


/*
 * The first byte at which a delimiter, or the beginning of one that the end of
 * the input cuts, may be; else last.  "\r\n--" is compared at once: a search
 * for CR alone would crawl through a body of nothing but CRs.
 */

static const unsigned char *
batch_multipart_find(const batch_multipart_t *mp, const unsigned char *p,
    const unsigned char *last)
{
    size_t                n;

#if (BATCH_MP_SSE2)

    int                   mask;
    __m128i               hit;
    const unsigned char  *q;

    const __m128i  cr = _mm_set1_epi8('\r');
    const __m128i  lf = _mm_set1_epi8('\n');
    const __m128i  dash = _mm_set1_epi8('-');

#define batch_multipart_load(i)  _mm_loadu_si128((const __m128i *) (p + (i)))

    while (last - p >= 16 + 3) {
        hit = _mm_and_si128(_mm_cmpeq_epi8(batch_multipart_load(0), cr),
                            _mm_cmpeq_epi8(batch_multipart_load(1), lf));
        hit = _mm_and_si128(hit, _mm_cmpeq_epi8(batch_multipart_load(2), dash));
        hit = _mm_and_si128(hit, _mm_cmpeq_epi8(batch_multipart_load(3), dash));
        mask = _mm_movemask_epi8(hit);

        for ( /* void */ ; mask; mask &= mask - 1) {
            q = p + __builtin_ctz((unsigned) mask);

            if (batch_multipart_maybe(mp, q, (size_t) (last - q))) {
                return q;
            }
        }

        p += 16;
    }

#endif

    for ( /* void */ ; p < last; p++) {

        if (*p != '\r') {
            p = memchr(p, '\r', (size_t) (last - p));

            if (p == NULL) {
                return last;
            }
        }

        n = (size_t) (last - p);

        if (memcmp(p, "\r\n--", n < 4 ? n : 4) == 0
            && batch_multipart_maybe(mp, p, n))
        {
            return p;
        }
    }

    return last;
}


/*
 * Goes on with a delimiter that has begun.  1: it is complete; 0: the input is
 * used up; -1: it was not a delimiter, mp->matched bytes of it are data.
 */

static int
batch_multipart_match(batch_multipart_t *mp, const unsigned char **pos,
    const unsigned char *last)
{
    while (mp->matched < mp->delim_len) {

        if (*pos == last) {
            return 0;
        }

        if (**pos != mp->delim[mp->matched]) {
            return -1;
        }

        mp->matched++;
        (*pos)++;
    }

    return 1;
}


/*
 * Data up to the next delimiter: DATA, AGAIN, or CONTINUE if the delimiter has
 * been passed.  Only the first byte of a delimiter is a CR, so one that failed
 * cannot hide another in its matched bytes.
 */

static int
batch_multipart_data(batch_multipart_t *mp, const unsigned char **pos,
    const unsigned char *last)
{
    int                   rc;
    size_t                n;
    const unsigned char  *p;

    while (mp->matched) {
        rc = batch_multipart_match(mp, pos, last);

        if (rc >= 0) {
            return rc ? BATCH_MP_CONTINUE : BATCH_MP_AGAIN;
        }

        mp->data.data = mp->delim + mp->lead;
        mp->data.len = mp->matched - mp->lead;
        mp->matched = 0;
        mp->lead = 0;

        if (mp->data.len) {
            return BATCH_MP_DATA;
        }
    }

    for (p = *pos; /* void */; p++) {
        p = batch_multipart_find(mp, p, last);
        n = (size_t) (last - p);
        n = (n < mp->delim_len) ? n : mp->delim_len;

        if (memcmp(p, mp->delim, n) == 0) {
            break;
        }
    }

    mp->data.data = *pos;
    mp->data.len = (size_t) (p - *pos);
    mp->matched = n;
    *pos = p + n;

    if (mp->data.len) {
        return BATCH_MP_DATA;
    }

    return (n == mp->delim_len) ? BATCH_MP_CONTINUE : BATCH_MP_AGAIN;
}


/* bytes before the first and after the last delimiter: they are thrown away */

static int
batch_multipart_discard(batch_multipart_t *mp, size_t n)
{
    mp->preamble += n;

    if (mp->preamble > BATCH_MP_MAX_PREAMBLE) {
        return batch_multipart_fail(mp, mp->state == BATCH_MP_EPILOGUE
                                    ? "Too much data after the last part of "
                                      "the multipart body."
                                    : "Too much data before the first part "
                                      "of the multipart body.");
    }

    return BATCH_MP_CONTINUE;
}


static int
batch_multipart_preamble(batch_multipart_t *mp, const unsigned char **pos,
    const unsigned char *last)
{
    int  event;

    event = batch_multipart_data(mp, pos, last);

    if (event == BATCH_MP_DATA) {
        return batch_multipart_discard(mp, mp->data.len);
    }

    if (event == BATCH_MP_CONTINUE) {
        mp->state = BATCH_MP_DELIM;
    }

    return event;
}


static int
batch_multipart_body(batch_multipart_t *mp, const unsigned char **pos,
    const unsigned char *last)
{
    int  event;

    event = batch_multipart_data(mp, pos, last);

    if (event != BATCH_MP_CONTINUE) {
        return event;
    }

    mp->state = BATCH_MP_DELIM;

    return BATCH_MP_PART_END;
}


/* a byte of the rest of a delimiter's line */

static int
batch_multipart_delim(batch_multipart_t *mp, unsigned char c)
{
    switch (mp->state) {

    case BATCH_MP_DASH:
        if (c != '-') {
            break;
        }

        mp->state = BATCH_MP_EPILOGUE;
        mp->preamble = 0;
        return BATCH_MP_DONE;

    case BATCH_MP_CR:
        if (c != '\n') {
            break;
        }

        if (++mp->parts > BATCH_MP_MAX_PARTS) {
            return batch_multipart_fail(mp, "The multipart body has too many "
                                        "parts.");
        }

        batch_part_reset(mp);
        mp->state = BATCH_MP_HEADERS;
        return BATCH_MP_CONTINUE;

    default: /* BATCH_MP_DELIM, BATCH_MP_PADDING */

        if (c == '-' && mp->state == BATCH_MP_DELIM) {
            mp->state = BATCH_MP_DASH;
            return BATCH_MP_CONTINUE;
        }

        if (c == '\r') {
            mp->state = BATCH_MP_CR;
            return BATCH_MP_CONTINUE;
        }

        if (c == ' ' || c == '\t') {
            mp->state = BATCH_MP_PADDING;
            return BATCH_MP_CONTINUE;
        }
    }

    return batch_multipart_fail(mp, "Text after a boundary in the multipart "
                                "body.");
}


/* a header line is complete, CRLF included; an empty one ends the headers */

static int
batch_multipart_line(batch_multipart_t *mp)
{
    size_t          len;
    unsigned char  *line;

    line = mp->header + mp->line;
    len = mp->header_len - mp->line - 2;
    mp->line = mp->header_len;

    if (len == 0) {

        if (batch_part_ready(mp) != BATCH_OK) {
            return batch_multipart_fail(mp, mp->error);
        }

        /* the delimiter of an empty part may share the empty line's CRLF */

        mp->state = BATCH_MP_BODY;
        mp->lead = 2;
        mp->matched = 2;

        return BATCH_MP_PART;
    }

    if (++mp->headers > BATCH_MP_MAX_HEADERS) {
        return batch_multipart_fail(mp, "A part of the multipart body has "
                                    "too many headers.");
    }

    if (batch_part_header(mp, line, len) != BATCH_OK) {
        return batch_multipart_fail(mp, mp->error);
    }

    return BATCH_MP_CONTINUE;
}


static int
batch_multipart_headers(batch_multipart_t *mp, unsigned char c)
{
    int  cr;

    if (c == '\0') {
        return batch_multipart_fail(mp, "NUL in a header of a part of the "
                                    "multipart body.");
    }

    cr = mp->header_len > mp->line && mp->header[mp->header_len - 1] == '\r';

    if (cr != (c == '\n')) {
        return batch_multipart_fail(mp, "A header line of a part of the "
                                    "multipart body does not end with CRLF.");
    }

    if (mp->header_len == BATCH_MP_HEADER_SIZE) {
        return batch_multipart_fail(mp, "The headers of a part of the "
                                    "multipart body are too large.");
    }

    mp->header[mp->header_len++] = c;

    return (c == '\n') ? batch_multipart_line(mp) : BATCH_MP_CONTINUE;
}


batch_multipart_event_e
batch_multipart_next(batch_multipart_t *mp, const unsigned char **pos,
    const unsigned char *last)
{
    int  event;

    do {

        if (mp->state == BATCH_MP_FAILED) {
            return BATCH_MP_ERROR;
        }

        if (*pos == last) {

            /* the end of a part may be due without more input */

            if (mp->state != BATCH_MP_BODY || mp->matched != mp->delim_len) {
                return BATCH_MP_AGAIN;
            }
        }

        switch (mp->state) {

        case BATCH_MP_PREAMBLE:
            event = batch_multipart_preamble(mp, pos, last);
            break;

        case BATCH_MP_BODY:
            event = batch_multipart_body(mp, pos, last);
            break;

        case BATCH_MP_HEADERS:
            event = batch_multipart_headers(mp, *(*pos)++);
            break;

        case BATCH_MP_EPILOGUE:
            event = batch_multipart_discard(mp, (size_t) (last - *pos));
            *pos = last;
            break;

        default:
            event = batch_multipart_delim(mp, *(*pos)++);
            break;
        }

    } while (event == BATCH_MP_CONTINUE);

    return (batch_multipart_event_e) event;
}


int
batch_multipart_finish(batch_multipart_t *mp)
{
    if (mp->state == BATCH_MP_EPILOGUE) {
        return BATCH_OK;
    }

    if (mp->state != BATCH_MP_FAILED) {
        (void) batch_multipart_fail(mp, "The multipart body ends before its "
                                    "closing boundary.");
    }

    return BATCH_ERROR;
}
