/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What of a line is sent and kept: its body, as the client's bytes, without the
 * members that lenient rules drop, and with the batch's model where it has
 * none.  A member goes with one of the commas beside it.
 */

#ifndef _BATCH_SPLICE_H_INCLUDED_
#define _BATCH_SPLICE_H_INCLUDED_

#include "batch_jsonl.h"

/* bytes that keep() writes for a line that was parsed by the rules */
size_t batch_splice_size(const batch_line_t *line, const batch_rules_t *rules);

/*
 * Writes them to out, which does not overlap the line.  custom_id, body and
 * model of the line then are spans of out, and the other spans are empty.  A
 * model that was put in is the line's model.
 */
void batch_splice_keep(batch_line_t *line, const batch_rules_t *rules,
    unsigned char *out);

#endif /* _BATCH_SPLICE_H_INCLUDED_ */
