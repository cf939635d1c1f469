#!/bin/bash
# get_nginx_src.sh DIR - Debian's nginx source, with Debian's patches, of the
# version that is installed here (or that apt would install), unpacked into
# DIR/nginx-X.Y.Z; prints that directory.  It uses package lists of its own:
# apt's configuration and lists do not change.
#
# Mirrors lose the source of a security update before its packages: then it
# takes the newest other revision of the same nginx, and prints which.

set -euo pipefail
. "$(dirname "$0")/lib.sh"

mkdir -p "$1"
dir=$(cd "$1" && pwd)

v=$(dpkg-query -W -f '${source:Version}' nginx 2> /dev/null || true)

if [ -z "$v" ]; then
    need_lists >&2
    v=$(apt-cache policy nginx | awk '/Candidate/ { print $2 }')
fi

up=${v#*:}
up=${up%-*}

if [ -e "$dir/nginx-$up/.complete-$v" ]; then
    echo "$dir/nginx-$up"
    exit 0
fi

need_lists >&2
rm -rf "$dir/nginx-$up"

t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
chmod 755 "$t"
mkdir -p "$t/lists/partial" "$t/archives/partial" "$t/none"

apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Identifier: Packages' | sort -u | awk '
    $3 == "main" {
        print "deb-src [signed-by=/usr/share/keyrings/" \
              "debian-archive-keyring.gpg] " $0
    }' > "$t/sources.list"

o=(-o Dir::Etc::sourcelist="$t/sources.list"
   -o Dir::Etc::sourceparts="$t/none"
   -o Dir::Etc::preferencesparts="$t/none"
   -o Dir::State::lists="$t/lists"
   -o Dir::Cache="$t"
   -o Dir::Cache::archives="$t/archives"
   -o APT::Sandbox::User="$(id -un)")

# revisions - Debian's revisions of that nginx: the right one, then newest first

revisions() {
    echo "$v"
    apt-cache "${o[@]}" showsrc --only-source nginx 2> /dev/null \
        | awk '$1 == "Version:" { print $2 }' | sort -ruV \
        | while read -r s; do
            [ "${s%-*}" != "${v%-*}" ] || [ "$s" = "$v" ] || echo "$s"
        done
}

# get - downloads the first one available; its revision is in "got"

get() {
    local s

    apt-get "${o[@]}" -qq update || return 1

    for s in $(revisions); do
        rm -rf "nginx-$up"
        got=$s
        ! apt-get "${o[@]}" -qq --only-source source "nginx=$s" || return 0
    done

    return 1
}

cd "$dir"

get > "$t/log" 2>&1 || {
    sed -E 's#(https?://)[^/ "]+#\1MIRROR#g' "$t/log" >&2
    exit 1
}

[ "$got" = "$v" ] \
    || say "the source of nginx $v is not available, taking $got" >&2

touch "$dir/nginx-$up/.complete-$v"
echo "$dir/nginx-$up"
