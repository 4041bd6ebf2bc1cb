#!/usr/bin/env bash
# Leaves in target/dist what is given out, meant to be the same bytes for the same sources and the same Rust:
#
#   spore                              the executable, linked with glibc alone
#   spore_VERSION-1_ARCH.deb           for Debian 12
#   spore-VERSION-ARCH-linux.tar.xz    for other distributions: the same files
#   SHA256SUMS
#
# SOURCE_DATE_EPOCH is the time of the last commit unless it is given (https://reproducible-builds.org/specs/source-date-epoch/).
# The .deb is made by dpkg-deb, which every Debian has: cargo-deb would be built for minutes to write these few files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C TZ=UTC
umask 022

say() { printf 'dist: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

if [[ -z ${SOURCE_DATE_EPOCH:-} ]]; then
  SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) || die "this is no clone: give SOURCE_DATE_EPOCH, in seconds"
fi
export SOURCE_DATE_EPOCH
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
arch=$(dpkg --print-architecture)
out=target/dist
# Renamed at the end: what is in target/dist is whole.
new=target/dist.new
rm -rf "$new"
mkdir -p "$new"

# --- the executable ----------------------------------------------------------------------------------------

# A target folder of its own: its flags would make `make build` compile everything again. No path of this machine is to be
# in what is given out.
build() {
  local cargo_home=${CARGO_HOME:-$HOME/.cargo} flags=() path
  for path in "$cargo_home=/cargo" "$PWD=/spore"; do flags+=("--remap-path-prefix=$path"); done
  CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && printf %s "${flags[*]}") \
    CFLAGS="-ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$PWD=/spore" CARGO_INCREMENTAL=0 \
    cargo build --profile release-lto --locked --package spore --target-dir target/dist-build
  install -m 755 target/dist-build/release-lto/spore "$new/spore"
  if grep -qaF -e "$cargo_home/" -e "$PWD/" "$new/spore"; then
    die "a path of this machine is in the executable: $(grep -aoE "($cargo_home|$PWD)/[[:print:]]{1,60}" "$new/spore" | head -1)"
  fi
}

# The libraries that it needs at run time: glibc, and gcc's, without which no Debian has glibc.
check_libraries() {
  local library
  for library in $(readelf --dynamic --wide "$new/spore" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
    case $library in
      libc.so.6 | libm.so.6 | libgcc_s.so.1 | ld-linux-*) ;;
      *) die "the executable needs $library: only glibc is to be needed" ;;
    esac
  done
}

# The oldest glibc that has all that the executable needs.
glibc() {
  readelf --version-info --wide "$new/spore" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -1 | cut -d_ -f2
}

# --- the files ---------------------------------------------------------------------------------------------

# files FOLDER: all that is installed, as it lies below / in a package and below /usr/local elsewhere.
files() {
  local usr=$1/usr share=$1/usr/share doc=$1/usr/share/doc/spore
  install -D -m 755 "$new/spore" "$usr/bin/spore"
  "$new/spore" man "$share/man/man1"
  mkdir -p "$share"/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d} "$doc"
  "$new/spore" completions bash >"$share/bash-completion/completions/spore"
  "$new/spore" completions zsh >"$share/zsh/vendor-completions/_spore"
  "$new/spore" completions fish >"$share/fish/vendor_completions.d/spore.fish"
  cp -r recipes "$share/spore-recipes" && mkdir -p "$share/spore" && mv "$share/spore-recipes" "$share/spore/recipes"
  cp README.md docs/*.md "$doc"
  cp CHANGELOG.md "$doc/changelog"
  copyright >"$doc/copyright"
  scripts/third-party.py >"$doc/third-party"
  gzip -9n "$share"/man/man1/*.1 "$doc/changelog" "$doc/third-party"
}

copyright() {
  cat <<'COPYRIGHT'
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: spore
Comment: What is linked into the executable, and under which licences, is in
 third-party.gz beside this file.

Files: *
Copyright: The Spore authors
License: Apache-2.0
 On Debian systems, the text of this licence is in
 /usr/share/common-licenses/Apache-2.0.
COPYRIGHT
}

# settle FOLDER: the modes and times that every clone gives.
settle() {
  find "$1" -type d -exec chmod 755 {} +
  find "$1" -type f ! -path '*/bin/*' -exec chmod 644 {} +
  find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}

# --- the packages ------------------------------------------------------------------------------------------

# What forks need, and making writable disks; what only Debian's bases and kernels need is recommended.
control() {
  cat <<CONTROL
Package: spore
Version: $version-1
Architecture: $arch
Maintainer: ${DEB_MAINTAINER:-The Spore authors <spore@localhost>}
Section: admin
Priority: optional
Installed-Size: $(du --apparent-size --block-size=1024 --summarize "$1/usr" | cut -f1)
Depends: libc6 (>= $(glibc)), libgcc-s1, qemu-system-x86 (>= 1:7.2), e2fsprogs (>= 1.46), util-linux (>= 2.38), xz-utils, gzip, ca-certificates
Recommends: mmdebstrap (>= 1.3), uidmap, debian-archive-keyring
Description: bakes a warm virtual machine once and forks it any number of times
 Spore boots a virtual machine, warms it (interpreter up, libraries imported,
 caches filled), freezes it, ships it to any host through an OCI registry, a
 bucket or a folder, and forks any number of isolated copies of it there, which
 share all memory and disk that they do not change.
CONTROL
}

deb() {
  local tree=$new/tree
  mkdir -p "$tree/DEBIAN"
  control "$tree" >"$tree/DEBIAN/control"
  (cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
  settle "$tree"
  dpkg-deb --root-owner-group --uniform-compression -Zxz --build "$tree" "$new/spore_$version-1_$arch.deb" >/dev/null
  rm -rf "$tree/DEBIAN"
}

tarball() {
  local name
  name=spore-$version-$(uname -m)-linux
  mv "$new/tree/usr" "$new/tree/$name"
  cp LICENSE "$new/tree/$name/share/doc/spore/"
  settle "$new/tree/$name"
  tar --create --directory "$new/tree" --sort=name --format=gnu --owner=0 --group=0 --numeric-owner \
    --mtime="@$SOURCE_DATE_EPOCH" "$name" | xz -6 --threads=1 >"$new/$name.tar.xz"
  rm -rf "$new/tree"
}

build
check_libraries
files "$new/tree"
deb
tarball
(cd "$new" && sha256sum -- spore*) >"$new/SHA256SUMS.new"
mv "$new/SHA256SUMS.new" "$new/SHA256SUMS"
rm -rf "$out"
mv "$new" "$out"
say "$out: $version for $arch, glibc $(new=$out glibc) or newer"
cat "$out/SHA256SUMS"
