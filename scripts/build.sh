#!/bin/bash
# build.sh - the steps of every build of the module
#
#     build.sh                        against the installed nginx-dev, into
#                                     build/ngx_http_batch_module.so
#     build.sh --source DIR [NGINX]   against an unpacked nginx source of the
#                                     same version as the binary NGINX (default:
#                                     nginx), with the arguments that its
#                                     "nginx -V" prints
#     build.sh --asan                 nginx and module, both with sanitizers,
#                                     into build/asan
#
# CC, EXTRA_CC and EXTRA_LD may be set; BUILD is the build directory, OUT the
# directory for the finished .so.  Source trees are not written to.  If only
# sources have changed, only those are compiled.

set -euo pipefail
. "$(dirname "$0")/lib.sh"

export CC=${CC:-gcc}
so=ngx_http_batch_module.so
jobs=$(nproc 2> /dev/null || echo 2)


# What configure depends on: the names of the files (not their content), the
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

    # two concurrent makes would read each other's half-written files
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

        # a new file: a running nginx has mapped the old one
        cp "$1/$so" "$dir/.$so.$$"
        mv "$dir/.$so.$$" "$dir/$so"
    fi

    # undefined symbols would be found by nginx's dlopen() only

    undefined=$(nm -D "$dir/$so" | awk '
        $1 == "U" && $2 ~ /^(ngx_http_)?batch_/ { print $2 }')

    [ -z "$undefined" ] || die "undefined symbols:" $undefined

    say "built $dir/$so"
}


build_dev() {
    src=${NGX_SRC:-/usr/share/nginx/src}

    [ -e "$src/configure" ] \
        || die "no nginx headers in $src: install the package nginx-dev," \
               "or use --source with an unpacked nginx source"

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


# The configure arguments of a binary, without those that do not matter to a
# third-party module and would only require more libraries.

binary_arguments() {
    local a line

    line=$("$1" -V 2>&1 | sed -n 's/^configure arguments: //p')

    [ -n "$line" ] || die "\"$1 -V\" prints no configure arguments"

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
    [ -n "$nginx" ] || nginx=$(nginx_binary) \
        || die "no nginx binary found; name it after the directory"

    version=$("$nginx" -v 2>&1 | sed 's/^[^/]*\///; s/ .*//')
    grep -q "\"$version\"" "$src/src/core/nginx.h" \
        || die "$src is not the source of $nginx, whose version is $version"

    mapfile -d '' -t args < <(binary_arguments "$nginx")
    [ ${#args[@]} -gt 0 ] || exit 1

    configure_and_make "$BUILD/source-${CC//[^A-Za-z0-9._-]/_}" modules \
        "${args[@]}"
    OUT=${OUT:-$BUILD/source} install_so \
        "$BUILD/source-${CC//[^A-Za-z0-9._-]/_}"
}


# NGX_DEBUG_PALLOC turns each allocation from a pool into a malloc(), so that
# the sanitizer sees an overrun inside a pool.  nginx itself passes NULL with a
# zero length to memcpy(), hence -fno-sanitize=nonnull-attribute, and its HTTP/2
# uses whole words at odd addresses unless NGX_HAVE_NONALIGNED is 0.

build_asan() {
    local s="-fsanitize=address,undefined -fno-sanitize=nonnull-attribute"

    # with ASAN's runtime the shared one of UBSAN would ignore log_path
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
