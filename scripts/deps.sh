#!/bin/bash
# deps.sh GROUP... - installs the Debian packages that are missing and lists
# them; does nothing, and needs no rights, if there are none.
#
#     build    compiler, nginx and its headers, hiredis, jansson
#     run      Redis and curl, for the demo and the tests
#     test     what the test suites need in addition
#     fault    what t/fault needs in addition
#     fuzz     clang with its libFuzzer and sanitizers
#     guard    valgrind, python3
#     bench    the clients that the bench compares with
#     verify   spin, for the models in spec/
#     source   what a build of nginx itself from source needs

set -euo pipefail
. "$(dirname "$0")/lib.sh"

command -v dpkg-query > /dev/null || {
    say "not a Debian system: install the equivalents of the packages in $0"
    exit 0
}

want=()

for group in "$@"; do
    case $group in
        build)
            want+=(gcc libc6-dev make nginx nginx-dev libhiredis-dev
                   libjansson-dev libssl-dev)
            case ${CC:-gcc} in
                gcc) ;;
                *) command -v "${CC%% *}" > /dev/null || want+=("${CC%% *}") ;;
            esac
            ;;
        run)
            want+=(curl)
            redis_binary > /dev/null || want+=(redis-server)
            ;;
        test)
            want+=(curl libprotocol-http2-perl openssl perl procps)
            redis_binary > /dev/null || want+=(redis-server)
            ;;
        fault)
            want+=(python3 util-linux)
            redis_binary > /dev/null || want+=(redis-server)

            # for power cuts, which need root

            [ "$(id -u)" != 0 ] || want+=(mount e2fsprogs xfsprogs)
            ;;
        fuzz)
            want+=(clang libc6-dev make libssl-dev)

            # the package with the runtimes is named by the version

            v=$(clang -dumpversion 2> /dev/null | cut -d. -f1) || v=
            [ -n "$v" ] || v=$(apt-cache depends clang 2> /dev/null \
                | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -1)
            want+=("libclang-rt-${v:-14}-dev")
            ;;
        guard)
            want+=(curl python3 redis-tools valgrind)
            ;;
        bench)
            want+=(curl python3 python3-aiohttp redis-tools wrk)
            command -v node > /dev/null || want+=(nodejs)
            ;;
        verify)
            want+=(spin gcc libc6-dev)
            ;;
        source)
            want+=(gcc libc6-dev make dpkg-dev libpcre2-dev libssl-dev
                   zlib1g-dev libhiredis-dev libjansson-dev)
            ;;
        *)
            die "$0: unknown group \"$group\""
            ;;
    esac
done

missing=()

for p in "${want[@]}"; do
    have_packages "$p" || missing+=("$p")
done

[ ${#missing[@]} -gt 0 ] || exit 0

say "installing: ${missing[*]}"

# The packages would start nginx and Redis on their well-known ports: unless
# there is a policy, one that says no is in place while apt runs.

policy=/usr/sbin/policy-rc.d

if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy > /dev/null
    as_root chmod 755 $policy
    trap 'as_root rm -f $policy' EXIT
fi

log=$BUILD/deps.log

need_lists
as_root $APT install -y -qq --no-install-recommends "${missing[@]}" \
    > "$log" 2>&1 || {

    # stale package lists name files that the mirror no longer has

    as_root $APT -qq update
    as_root $APT install -y -qq --no-install-recommends "${missing[@]}" \
        > "$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }
}
