#!/bin/bash
# chroot.sh SUITE DIR [PACKAGE...] - a minimal chroot of another Debian suite
# from this machine's own mirror, with packages; and chroot.sh --umount DIR.
#
# Idempotent: adds what is missing.  Needs root.  /dev is debootstrap's static
# set, never a bind mount of the host's, so that no rm -rf can reach it; proc
# and a tmpfs on dev/shm are mounted.

set -euo pipefail
. "$(dirname "$0")/lib.sh"

if [ "$1" = --umount ]; then
    chroot_umount "$2"
    exit 0
fi

suite=$1
dir=$2
shift 2

[ "$(id -u)" = 0 ] || die "making a chroot needs root"

need_lists
mirror=$(mirror_uri)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

have_packages debootstrap || {
    say "installing: debootstrap"
    $APT install -y -qq --no-install-recommends debootstrap > /dev/null
}

if [ ! -e "$dir/.debootstrapped" ]; then
    chroot_umount "$dir"
    rm -rf --one-file-system "$dir"
    mkdir -p "$dir"
    debootstrap --variant=minbase --keyring=$keyring "$suite" "$dir" "$mirror"
    touch "$dir/.debootstrapped"
fi

# this machine's name resolution and proxies; no services, no documentation

cp -L /etc/resolv.conf /etc/hosts "$dir/etc/" 2> /dev/null || true
printf '#!/bin/sh\nexit 101\n' > "$dir/usr/sbin/policy-rc.d"
chmod 755 "$dir/usr/sbin/policy-rc.d"

apt-config dump | grep -E \
    '^Acquire::(Check-Valid-Until|Check-Date|https?::Proxy)' \
    > "$dir/etc/apt/apt.conf.d/99host" || true

printf '%s\n' 'path-exclude /usr/share/doc/*' 'path-exclude /usr/share/man/*' \
    > "$dir/etc/dpkg/dpkg.cfg.d/nodoc"

mountpoint -q "$dir/proc" || mount -t proc proc "$dir/proc"
mountpoint -q "$dir/dev/shm" || mount -t tmpfs tmpfs "$dir/dev/shm"

missing=()

for p in "$@"; do
    chroot "$dir" dpkg-query -W -f '${db:Status-Status}\n' "$p" 2> /dev/null \
        | grep -qx installed || missing+=("$p")
done

if [ ${#missing[@]} -gt 0 ]; then
    chroot "$dir" apt-get -qq update
    chroot "$dir" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}"
    chroot "$dir" apt-get clean
fi
