#!/bin/bash
# jansson 2.14 refuses a whole document for one number that is valid JSON
#
# RFC 8259 puts no limit on numbers.  Servers print counts that a signed 64-bit
# integer cannot hold, for example a -1 that became unsigned: 18446744073709551615.
# json_loads() of jansson 2.14 then returns no document at all, not one in which
# that number is a real or is clamped:
#
#     {"a":1,"n":9223372036854775807}    read
#     {"a":1,"n":9223372036854775808}    refused: too big integer
#     {"a":1,"n":18446744073709551615}   refused: too big integer
#     {"a":1,"n":1e400}                  refused: real number overflow
#
# JSON_DECODE_INT_AS_REAL reads the integers, but then every integer of the
# document is a real.  A program that stores JSON with numbers of others has to
# bound them when it writes, or it cannot read its own files back.
#
# Seen with: Debian's libjansson4 and libjansson-dev 2.14-2, gcc 12.2.

set -euo pipefail

version=2.14-2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cd "$dir"
apt-get download "libjansson4=$version" "libjansson-dev=$version" > /dev/null
for deb in ./*.deb; do dpkg-deb -x "$deb" root; done

cat > try.c << 'END'
#include <jansson.h>
#include <stdio.h>

static void
try(const char *text, size_t flags)
{
    json_t        *root;
    json_error_t   error;

    root = json_loads(text, flags, &error);

    printf("%s %s\n", text, root ? "read" : error.text);
    json_decref(root);
}

int
main(void)
{
    try("{\"a\":1,\"n\":9223372036854775807}", 0);
    try("{\"a\":1,\"n\":9223372036854775808}", 0);
    try("{\"a\":1,\"n\":18446744073709551615}", 0);
    try("{\"a\":1,\"n\":1e400}", 0);
    try("{\"a\":1,\"n\":18446744073709551615}", JSON_DECODE_INT_AS_REAL);

    return 0;
}
END

lib=$(dirname "$(find root -name libjansson.a | head -1)")
gcc -o try try.c -I root/usr/include "$lib/libjansson.a"

./try | sed -E "s/ near '[^']*'//" | tee seen

diff seen - << 'END'
{"a":1,"n":9223372036854775807} read
{"a":1,"n":9223372036854775808} too big integer
{"a":1,"n":18446744073709551615} too big integer
{"a":1,"n":1e400} real number overflow
{"a":1,"n":18446744073709551615} read
END

echo "as described"
