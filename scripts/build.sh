#!/bin/bash
# build.sh - the steps of every build of the module
#
#     build.sh                        against the installed nginx-dev, into
#                                     build/ngx_http_batch_module.so
#     build.sh --source DIR [NGINX]   against an unpacked nginx source of the
#                                     version of the binary NGINX (default:
#                                     nginx), with the arguments of its
#                                     "nginx -V"
#     build.sh --asan                 nginx and module, both with sanitizers,
#                                     into build/asan
#
# CC, EXTRA_CC and EXTRA_LD may be set; BUILD moves the build directory, OUT
# the directory that the finished .so is put in.  No source tree is written
# to.  When nothing but sources changed, only those are compiled.

set -euo pipefail
. "$(dirname "$0")/lib.sh"

export CC=${CC:-gcc}
so=ngx_http_batch_module.so
jobs=$(nproc 2> /dev/null || echo 2)


# What a configure depends on: the files there are (not what is in them), the
# build scripts, the compiler, the arguments and nginx's headers.

stamp() {
    (
        cd "$ROOT"
        ls -d *.c src/*.h src/*/*.[ch] src/*/*.lua 2> /dev/null || true
        cat config config.make
        "${CC%% *}" --version
        printf '%s\n' "$CC" "${EXTRA_CC:-}" "${EXTRA_LD:-}" "$@"
        cksum "$src/src/core/nginx.h"
    ) | cksum
}


# configure_and_make BUILD_DIR TARGETS ARGUMENT...

configure_and_make() {
    local out=$1 targets=$2 now
    shift 2

    mkdir -p "$out"

    # two makes at once would trip over each other's half-written files
    exec 9> "$out.lock"
    flock 9

    now=$(stamp "$@")

    if [ ! -e "$out/Makefile" ] \
       || [ "$(cat "$out/.stamp" 2> /dev/null)" != "$now" ]
    then
        say "configuring in ${out#"$ROOT"/} (CC=$CC)"
        rm -rf "$out/addon" "$out/.stamp"

        # fd 9 is the lock; no child may keep it
        (
            cd "$src"
            ASAN_OPTIONS=detect_leaks=0 bash ./configure \
                --with-cc="$CC" "$@" \
                --add-dynamic-module="$ROOT" --builddir="$out" 9>&-
        ) > "$out/configure.log" 2>&1 || {
            tail -n 30 "$out/configure.log" >&2
            die "configure failed, see $out/configure.log"
        }

        echo "$now" > "$out/.stamp"
    fi

    (
        cd "$src"
        ASAN_OPTIONS=detect_leaks=0 make -f "$out/Makefile" -j"$jobs" \
            $targets 9>&-
    ) > "$out/make.log" 2>&1 || {
        grep -E -A12 'error|warning|undefined reference' "$out/make.log" \
            | head -60 >&2
        tail -n 5 "$out/make.log" >&2
        die "make failed, see $out/make.log"
    }

    exec 9>&-
}


install_so() {
    local dir=${OUT:-$BUILD} undefined

    mkdir -p "$dir"

    if ! cmp -s "$1/$so" "$dir/$so"; then

        # a new file, never new bytes under a running nginx
        cp "$1/$so" "$dir/.$so.$$"
        mv "$dir/.$so.$$" "$dir/$so"
    fi

    # the linker leaves to nginx's dlopen() what nobody defines

    undefined=$(nm -D "$dir/$so" | awk '
        $1 == "U" && $2 ~ /^(ngx_http_)?batch_/ { print $2 }')

    [ -z "$undefined" ] || die "defined nowhere:" $undefined

    say "built $dir/$so"
}


build_dev() {
    src=${NGX_SRC:-/usr/share/nginx/src}

    [ -e "$src/configure" ] \
        || die "no nginx headers in $src (Debian: the package nginx-dev);" \
               "use --source with an unpacked nginx source"

    NGX_CONF_FLAGS=(--with-compat --with-threads)

    if [ -e "$src/conf_flags" ]; then
        . "$src/conf_flags"
    fi

    configure_and_make "$BUILD/nginx-${CC//[^A-Za-z0-9._-]/_}" modules \
        "${NGX_CONF_FLAGS[@]}" \
        --with-cc-opt="-g -O2 -fPIC -fstack-protector-strong -Wformat \
-Werror=format-security -D_FORTIFY_SOURCE=2 ${EXTRA_CC:-}" \
        --with-ld-opt="-Wl,-z,relro -Wl,-z,now -fPIC ${EXTRA_LD:-}"

    install_so "$BUILD/nginx-${CC//[^A-Za-z0-9._-]/_}"
}


# The arguments that a binary was configured with, less what has no bearing
# on a third-party module and would only ask for more libraries.

binary_arguments() {
    local a line

    line=$("$1" -V 2>&1 | sed -n 's/^configure arguments: //p')

    [ -n "$line" ] || die "$1 -V names no configure arguments"

    # nginx prints them quoted for a shell
    eval "set -- $line"

    for a in "$@"; do
        case $a in
            --with-*=dynamic|--add-module=*|--add-dynamic-module=*) ;;
            --builddir=*|--with-cc=*) ;;
            --with-cc-opt=*) printf '%s\0' "$a ${EXTRA_CC:-}" ;;
            --with-ld-opt=*) printf '%s\0' "$a ${EXTRA_LD:-}" ;;
            *) printf '%s\0' "$a" ;;
        esac
    done
}


build_source() {
    local nginx=${2:-} version args=()

    src=$(cd "$1" && pwd)
    [ -n "$nginx" ] || nginx=$(nginx_binary) || die "no nginx binary"

    version=$("$nginx" -v 2>&1 | sed 's/^[^/]*\///; s/ .*//')
    grep -q "\"$version\"" "$src/src/core/nginx.h" \
        || die "$src is not the source of $nginx, which is $version"

    mapfile -d '' -t args < <(binary_arguments "$nginx")
    [ ${#args[@]} -gt 0 ] || exit 1

    configure_and_make "$BUILD/source-${CC//[^A-Za-z0-9._-]/_}" modules \
        "${args[@]}"
    OUT=${OUT:-$BUILD/source} install_so \
        "$BUILD/source-${CC//[^A-Za-z0-9._-]/_}"
}


# NGX_DEBUG_PALLOC makes each allocation from a pool its own malloc(), so that
# the sanitizer sees an overrun inside a pool; nginx itself passes NULL with a
# zero length to memcpy(), hence -fno-sanitize=nonnull-attribute, and reads and
# writes whole words at odd addresses (its HTTP/2 does) unless it is told not to.

build_asan() {
    local s="-fsanitize=address,undefined -fno-sanitize=nonnull-attribute"

    # beside ASAN's own runtime the shared one of UBSAN would heed no log_path
    case $CC in
        gcc*) s="$s -static-libubsan" ;;
    esac

    src=$("$ROOT/scripts/get_nginx_src.sh" "$BUILD/src")

    configure_and_make "$BUILD/asan" "binary modules" \
        --prefix=/usr/share/nginx --error-log-path=stderr \
        --with-compat --with-debug --with-threads --with-pcre-jit \
        --with-http_ssl_module --with-http_stub_status_module \
        --with-http_realip_module --with-http_auth_request_module \
        --with-http_v2_module --with-http_slice_module \
        --with-http_addition_module \
        --with-cc-opt="-g -O1 -fno-omit-frame-pointer -fPIC $s \
-DNGX_DEBUG_PALLOC=1 -DNGX_HAVE_NONALIGNED=0 ${EXTRA_CC:-}" \
        --with-ld-opt="$s ${EXTRA_LD:-}"

    say "built $BUILD/asan/nginx and $BUILD/asan/$so"
}


case ${1:-} in
    "")       build_dev ;;
    --source) build_source "${2:?--source needs a directory}" "${3:-}" ;;
    --asan)   build_asan ;;
    *)        die "usage: build.sh [--source DIR [NGINX] | --asan]" ;;
esac
