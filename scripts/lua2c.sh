#!/bin/sh
# lua2c.sh HEADER [FILE.lua ...]
#
# Writes HEADER with one string macro per script: claim_chunk.lua becomes
# NGX_HTTP_BATCH_LUA_CLAIM_CHUNK.  Lines that are only a comment are left
# out.  The header appears in one piece or not at all.
#
# One of the files may be prelude.lua, which is not a script: its parts, each
# begun by a line "--#part NAME", stand in for a script's line
# "--#include NAME ...", in the order of that line.

set -eu

header=$1
shift

tmp=$header.$$
trap 'rm -f "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

prelude=/dev/null

for file in "$@"; do
    case $file in
    prelude.lua | */prelude.lua) prelude=$file ;;
    esac
done

{
    echo "/* made by scripts/lua2c.sh, do not edit */"
    echo
    echo "#ifndef _NGX_HTTP_BATCH_LUA_H_INCLUDED_"
    echo "#define _NGX_HTTP_BATCH_LUA_H_INCLUDED_"

    for file in "$@"; do
        [ "$file" = "$prelude" ] && continue

        name=$(basename "$file" .lua | tr 'a-z' 'A-Z' | tr -c 'A-Z0-9\n' '_')
        echo

        LC_ALL=C awk -v name="NGX_HTTP_BATCH_LUA_$name" -v prelude="$prelude" '
            function fail(why) {
                print "lua2c.sh: " FILENAME ": " why > "/dev/stderr"
                bad = 1
                exit 1
            }
            function quoted(text,  c, i, n, s) {
                sub(/[ \t\r]+$/, "", text)
                n = split(text, c, "")
                s = ""
                for (i = 1; i <= n; i++) {
                    if (c[i] == "\\") s = s "\\\\"
                    else if (c[i] == "\"") s = s "\\\""
                    else if (c[i] == "\t") s = s "\\t"
                    else if (c[i] == "?") s = s "\\?"
                    else s = s c[i]
                }
                return "    \"" s "\\n\""
            }
            /^[ \t]*--\[=*\[/ { fail("block comment") }
            /^--#part / {
                if (FILENAME != prelude || NF != 2) fail("bad line: " $0)
                part = $2
                size[part] = 0
                next
            }
            /^--#include / {
                if (FILENAME == prelude || NF < 2) fail("bad line: " $0)
                for (f = 2; f <= NF; f++) {
                    if (!($f in size)) fail("no such part: " $f)
                    if ($f in taken) fail("a part twice: " $f)
                    taken[$f] = 1
                    for (i = 1; i <= size[$f]; i++) {
                        line[++k] = parts[$f, i]
                    }
                }
                next
            }
            /^[ \t]*--#/ { fail("bad line: " $0) }
            /^[ \t]*--/ || /^[ \t\r]*$/ { next }
            FILENAME == prelude {
                if (part == "") fail("not in a part: " $0)
                parts[part, ++size[part]] = quoted($0)
                next
            }
            {
                line[++k] = quoted($0)
                own++
            }
            END {
                if (bad) exit 1
                if (!own) fail("empty")
                print "#define " name " \\"
                for (i = 1; i < k; i++) print line[i] " \\"
                print line[k]
            }' "$prelude" "$file"
    done

    echo
    echo "#endif /* _NGX_HTTP_BATCH_LUA_H_INCLUDED_ */"
} > "$tmp"

mv "$tmp" "$header"
trap - EXIT
