# lib.sh - sourced by the other scripts, which are bash.
#
# Sets ROOT (the project) and BUILD (the directory of everything that is built).

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${BUILD:-$ROOT/build}
mkdir -p "$BUILD"
BUILD=$(cd "$BUILD" && pwd)

export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
APT="apt-get -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3"


say() {
    printf '%s\n' "$*"
}


die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}


# Runs a command as root, directly or by sudo; fails with a message if neither
# is possible.

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo > /dev/null; then
        sudo --preserve-env=DEBIAN_FRONTEND "$@"
    else
        printf 'error: this needs root or sudo: %s\n' "$*" >&2
        return 1
    fi
}


# true if all the named packages are installed

have_packages() {
    local p

    for p in "$@"; do
        case $(dpkg-query -W -f '${db:Status-Status}' "$p" 2> /dev/null) in
            installed) ;;
            *) return 1 ;;
        esac
    done
}


# A fresh image may not have any package lists.

need_lists() {
    if [ -z "$(apt-get indextargets --format '$(SITE)' \
                   'Identifier: Packages' 2> /dev/null)" ]
    then
        as_root $APT -qq update
    fi
}


# The archive of the running release, as apt parses this machine's
# configuration; the files are read only if apt has no lists.

mirror_uri() {
    local code uri name

    code=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    uri=

    for name in RELEASE CODENAME; do
        uri=$(apt-get indextargets --format "\$($name) \$(REPO_URI)" \
                  'Identifier: Packages' 2> /dev/null \
              | awk -v c="$code" '$1 == c { print $2; exit }')
        [ -z "$uri" ] || break
    done

    [ -n "$uri" ] || uri=$(awk '/^URIs:/ { print $2; exit }' \
        /etc/apt/sources.list.d/*.sources 2> /dev/null)

    [ -n "$uri" ] || uri=$(awk '
        $1 == "deb" {
            for (i = 2; i <= NF; i++) {
                if ($i ~ /:\/\//) { print $i; exit }
            }
        }' /etc/apt/sources.list 2> /dev/null)

    if [ -z "$uri" ]; then
        echo "no Debian archive in this machine's apt configuration" >&2
        return 1
    fi

    echo "${uri%/}"
}


# Prints N free loopback ports below 32768, so that they do not collide with
# ephemeral ports of clients.

free_ports() {
    perl -MIO::Socket::INET -e '
        my ($n, @s, @p) = ($ARGV[0]);
        for (1 .. 5000) {
            my $p = 10000 + int(rand(22000));
            my $s = IO::Socket::INET->new(Listen => 1, Proto => "tcp",
                        LocalAddr => "127.0.0.1", LocalPort => $p) or next;
            push @s, $s;
            push @p, $p;
            last if @p == $n;
        }
        die "no free ports\n" if @p < $n;
        print "@p\n";' "$1"
}


# wait_for SECONDS COMMAND... - waits until the command succeeds

wait_for() {
    local end=$(($(date +%s) + $1))
    shift

    until "$@" > /dev/null 2>&1; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        sleep 0.05
    done
}


# The binary of Redis, or of Valkey.

redis_binary() {
    local b

    for b in redis-server valkey-server; do
        if command -v $b > /dev/null; then
            command -v $b
            return 0
        fi
    done

    return 1
}


nginx_binary() {
    local b

    for b in "${NGINX:-}" /usr/sbin/nginx "$(command -v nginx || true)"; do
        if [ -n "$b" ] && [ -x "$b" ]; then
            echo "$b"
            return 0
        fi
    done

    return 1
}


# stop_pid PID SIGNAL SECONDS - sends the signal, after so many seconds KILL;
# waits until the process is gone.  Only for processes that the caller started.

stop_pid() {
    local pid=$1 sig=$2 n=$(($3 * 20))

    [ -n "$pid" ] || return 0
    kill -"$sig" "$pid" 2> /dev/null || return 0

    while kill -0 "$pid" 2> /dev/null; do
        n=$((n - 1))
        if [ $n -le 0 ]; then
            kill -KILL "$pid" 2> /dev/null || true
            return 0
        fi
        sleep 0.05
    done
}


# chroot_umount DIR - unmounts what chroot.sh mounted there

chroot_umount() {
    local m

    for m in dev/shm proc; do
        if mountpoint -q "$1/$m" 2> /dev/null; then
            as_root umount "$1/$m"
        fi
    done
}
