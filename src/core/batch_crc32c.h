/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * CRC-32C (Castagnoli, reflected 0x82F63B78, RFC 3720 appendix B.4).
 * batch_crc32c(0, "123456789", 9) == 0xE3069283.  For data in pieces, crc is
 * the result of the piece before.
 */

#ifndef _BATCH_CRC32C_H_INCLUDED_
#define _BATCH_CRC32C_H_INCLUDED_

#include "batch_core.h"

uint32_t batch_crc32c(uint32_t crc, const void *p, size_t len);

#endif /* _BATCH_CRC32C_H_INCLUDED_ */
