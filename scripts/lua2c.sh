#!/bin/sh
# lua2c.sh HEADER [FILE.lua ...]
#
# Writes HEADER with one string macro per script: claim_chunk.lua becomes
# NGX_HTTP_BATCH_LUA_CLAIM_CHUNK.  Lines that are only a comment are left
# out.  The header appears in one piece or not at all.

set -eu

header=$1
shift

tmp=$header.$$
trap 'rm -f "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

{
    echo "/* made by scripts/lua2c.sh, do not edit */"
    echo
    echo "#ifndef _NGX_HTTP_BATCH_LUA_H_INCLUDED_"
    echo "#define _NGX_HTTP_BATCH_LUA_H_INCLUDED_"

    for file in "$@"; do
        name=$(basename "$file" .lua | tr 'a-z' 'A-Z' | tr -c 'A-Z0-9\n' '_')
        echo

        LC_ALL=C awk -v name="NGX_HTTP_BATCH_LUA_$name" -v file="$file" '
            /^[ \t]*--\[=*\[/ {
                print "lua2c.sh: " file ": block comment" > "/dev/stderr"
                bad = 1
                exit 1
            }
            /^[ \t]*--/ || /^[ \t\r]*$/ { next }
            {
                sub(/[ \t\r]+$/, "")
                n = split($0, c, "")
                s = ""
                for (i = 1; i <= n; i++) {
                    if (c[i] == "\\") s = s "\\\\"
                    else if (c[i] == "\"") s = s "\\\""
                    else if (c[i] == "\t") s = s "\\t"
                    else if (c[i] == "?") s = s "\\?"
                    else s = s c[i]
                }
                line[++k] = "    \"" s "\\n\""
            }
            END {
                if (bad) exit 1
                if (k == 0) {
                    print "lua2c.sh: " file ": empty" > "/dev/stderr"
                    exit 1
                }
                print "#define " name " \\"
                for (i = 1; i < k; i++) print line[i] " \\"
                print line[k]
            }' "$file"
    done

    echo
    echo "#endif /* _NGX_HTTP_BATCH_LUA_H_INCLUDED_ */"
} > "$tmp"

mv "$tmp" "$header"
trap - EXIT
