#!/bin/bash
# get_test_nginx.sh - installs Test::Nginx on a Debian release without it: one
# arch-independent package of sid, its signature checked by apt, with the
# dependencies of the running release.  Adds no source and no pin; apt's lists
# do not change.  Does nothing if Test::Nginx is installed.

set -euo pipefail
. "$(dirname "$0")/lib.sh"

! perl -MTest::Nginx::Socket -e 1 2> /dev/null || exit 0

say "installing: libtest-nginx-perl"

need_lists
mirror=$(mirror_uri)

t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
chmod 755 "$t"
mkdir -p "$t/lists/partial" "$t/archives/partial" "$t/none"

echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
    "$mirror ${TEST_NGINX_SUITE:-sid} main" > "$t/sources.list"

o=(-o Dir::Etc::sourcelist="$t/sources.list" -o Dir::Etc::sourceparts=-
   -o Dir::Etc::preferencesparts="$t/none" -o Dir::State::lists="$t/lists"
   -o Dir::Cache="$t" -o Dir::Cache::archives="$t/archives"
   -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none
   -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false)

{
    apt-get "${o[@]}" -qq update
    cd "$t"
    apt-get "${o[@]}" -qq download libtest-nginx-perl
    as_root $APT install -y -qq --no-install-recommends \
        -o APT::Sandbox::User=root "$t"/libtest-nginx-perl_*_all.deb
} > "$t/log" 2>&1 || {
    sed -E 's#(https?://)[^/ "]+#\1MIRROR#g' "$t/log" >&2
    exit 1
}

perl -MTest::Nginx::Socket -e 1
