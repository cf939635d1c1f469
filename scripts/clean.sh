#!/bin/bash
# clean.sh - removes the build directory.  Unmounts first what the chroot of a
# test left mounted there, and refuses to delete across a mount.

set -euo pipefail
. "$(dirname "$0")/lib.sh"

chroot_umount "$BUILD/chroot"

if awk -v d="$BUILD/" 'index($2, d) == 1 { f = 1 } END { exit !f }' \
    /proc/mounts
then
    die "a filesystem is still mounted below $BUILD"
fi

if [ -O "$BUILD/chroot" ] || [ ! -e "$BUILD/chroot" ]; then
    rm -rf --one-file-system "$BUILD"
else
    as_root rm -rf --one-file-system "$BUILD"
fi
