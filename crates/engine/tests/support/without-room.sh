#!/bin/sh
# A QEMU that finds the overlay in its folder on a file system of 512 KiB. That is in a mount namespace of its own: nobody
# else sees it, and it is gone with it.
set -e
qemu=${SPORE_QEMU:-qemu-system-x86_64}
[ -e writable.overlay ] || exec "$qemu" "$@"
exec unshare --user --map-root-user --mount sh -ec '
  mkdir room
  mount -t tmpfs -o size=512k none room
  cp writable.overlay room/
  mount --bind room/writable.overlay writable.overlay
  exec "$@"' sh "$qemu" "$@"
