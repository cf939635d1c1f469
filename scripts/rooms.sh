#!/bin/bash
# rooms.sh [OBJS] - nobody calls a room above: fails and names what does
#
# The rooms of src, bottom-up, are in the list below.  A file may include
# headers of its own room and of those below, and call what they define.  The
# second half looks at the symbols of a build's objects (OBJS, default
# build/nginx-gcc); a callback that is handed down is no symbol, and right.
# With -v the number of references between rooms is printed as well.
#
# A map that names what is gone is no map: files of src, and functions, types and
# constants ngx_http_batch_... in backticks, that documents name must exist.

set -euo pipefail
. "$(dirname "$0")/lib.sh"

rooms="core node disk index batch api conf care job chunk hook sched module"

verbose=
[ "${1:-}" != -v ] || { verbose=1; shift; }

objs=${1:-$BUILD/nginx-gcc}
cd "$ROOT"


# room FILE: the module's own file is the room above all; src/*.h belong to
# no room and may be included by all but core

includes() {
    grep -n '^#include "' ngx_http_batch_module.c src/*/*.[ch] |
        sed -E 's/^([^:]*):([0-9]*):#include "([^"]*)".*/\1 \2 \3/'
}

{
    ls src/*/*.h src/*.h | sed 's/^/header /'
    includes | sed 's/^/include /'
} | awk -v rooms="$rooms" '
    function room(file,   part, n) {
        n = split(file, part, "/")
        return n == 1 ? "module" : n == 2 ? "" : part[2]
    }
    BEGIN {
        n = split(rooms, name, " ")
        for (i = 1; i <= n; i++) rank[name[i]] = i
    }
    $1 == "header" {
        base = $2; sub(/.*\//, "", base)
        if (base in home) { print $2 ": a second header of that name"; bad = 1 }
        home[base] = room($2)
        if (home[base] != "" && !(home[base] in rank)) {
            print $2 ": not in a room that rooms.sh knows"; bad = 1
        }
    }
    $1 == "include" && ($4 in home) {
        from = room($2); to = home[$4]
        if (to == "" ? from == "core" : rank[to] > rank[from]) {
            print $2 ":" $3 ": " from " includes " $4 " of " \
                  (to == "" ? "nginx" : to)
            bad = 1
        }
    }
    END { exit bad }
' || die "includes go upward"


docs=(./*.md docs/*.md docs/internals/*.md spec/README.md t/README.md)

# a full name in backticks: not a part of one ("ngx_http_batch_index_*.c")

gone=$({
    grep -ohE '\b(ngx_http_batch|NGX_HTTP_BATCH)_[A-Za-z0-9_]+' \
        ngx_http_batch_module.c src/*.h src/*/*.[ch] | sort -u
    basename -a ngx_http_batch_module.c src/*.h src/*/*.[ch] src/*/*.lua
    ls src/*/*
    grep -noE '\bsrc/[a-z]+/[A-Za-z0-9_]+\.(c|h|lua)\b' "${docs[@]}" |
        sed -E 's/:([0-9]+):/:\1: /'
    grep -noE '`(ngx_http_batch|NGX_HTTP_BATCH)_[A-Za-z0-9_]+(\.[ch])?[^a-z]' \
        "${docs[@]}" | grep -vE '_?[*<]$|_[^A-Za-z0-9_]$' |
        sed -E 's/:([0-9]+):`/:\1: /; s/[^A-Za-z0-9_]$//'
} | awk '
    NF == 1          { known[$1] = 1; next }
    !($2 in known)   { print $1, $2, "does not exist" }')

[ -z "$gone" ] || { echo "$gone"; die "documents name what is gone"; }


# what an object defines and what it asks for

[ -d "$objs/addon" ] || { say "rooms: includes are in order"; exit 0; }

find "$objs/addon" -name '*.o' | while read -r o; do
    nm "$o" | awk -v o="${o#"$objs"/addon/}" '
        NF == 3 && $2 ~ /[TDBRC]/ { print "def", o, $3 }
        NF == 2 && $1 == "U"      { print "use", o, $2 }'
done | sort | awk -v rooms="$rooms" -v verbose="$verbose" '
    function room(o,   part) {
        split(o, part, "/")
        # the root file is in a folder that is called as the source tree is
        if (part[2] == "ngx_http_batch_module.o") return "module"
        return (part[1] in rank) ? part[1] : "module"
    }
    BEGIN {
        n = split(rooms, name, " ")
        for (i = 1; i <= n; i++) rank[name[i]] = i
    }
    $1 == "def" { home[$3] = room($2) }
    $1 == "use" && ($3 in home) {
        from = room($2); to = home[$3]
        count[from " -> " to]++
        # every module names itself; its address is no call
        if (rank[to] > rank[from] && $3 != "ngx_http_batch_module") {
            print $2 ": " from " uses " $3 " of " to
            bad = 1
        }
    }
    END {
        for (c in count) if (verbose) print "    " c ": " count[c]
        exit bad
    }
' || die "symbols go upward"

say "rooms: nobody calls a room above"
