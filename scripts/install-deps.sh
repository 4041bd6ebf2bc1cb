#!/usr/bin/env bash
# Installs what building and running Spore need, on Debian 12.
#
#   scripts/install-deps.sh           QEMU, what bakes call, a C compiler, Rust
#   scripts/install-deps.sh --tests   also linters, a kernel for guests of tests, an OCI registry and clients of it, a web
#                                     server, an S3 store, Node.js and a Jupyter kernel, and QEMU 7.2 beside a newer one,
#                                     for restores across releases
#   scripts/install-deps.sh --fuzz    also a C++ compiler and cargo-fuzz
#
# Where all is present, apt is not called and no privileges are needed. What is asked for is what is used (a
# command, a header), not a package's name: QEMU or Rust from elsewhere do as well.
set -euo pipefail
self="$(realpath "$0")${1:+ $1}"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# An ordinary user's shell on Debian has neither; mkfs.ext4 and rustup's cargo lie there.
PATH=$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin

tests=false
fuzz=false
case "${1:-}" in
  "") ;;
  --tests) tests=true ;;
  --fuzz) fuzz=true ;;
  *) sed -n '2,8s/^# \?//p' "${self%% *}" >&2; exit 2 ;;
esac

say() { printf 'install-deps: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null; }

os_release() { (. /etc/os-release && eval "printf %s \"\${$1:-}\"") 2>/dev/null; }

# as_root COMMAND...: the only way in which anything here gets privileges.
as_root() {
  if ((EUID == 0)); then
    "$@"
  elif have sudo; then
    # Without a terminal there is nobody to type a password: fail rather than wait.
    if [[ -t 0 ]]; then sudo "$@"; else sudo -n "$@"; fi
  else
    die "needs root, and there is no sudo. As root, run: $self"
  fi
}

apt_get() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@"
}

# Nothing that is installed is ever removed to make room: a conflict is the user's to decide.
apt_install() { apt_get install -y --no-install-recommends --no-remove "$@"; }

# --- what is missing ---------------------------------------------------------------------------------------

# The oldest Rust that will do, from the one place that says it.
msrv() { sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml; }

cargo_version() { cargo --version 2>/dev/null | awk '{ print $2 }'; }

cargo_usable() {
  local version
  version=$(cargo_version)
  [[ -n $version ]] && printf '%s\n%s\n' "$(msrv)" "$version" | sort --check=quiet --version-sort
}

# need PACKAGE TEST...: adds PACKAGE to `packages` unless TEST holds.
packages=()
need() {
  local package=$1
  shift
  "$@" || packages+=("$package")
}

collect_packages() {
  need qemu-system-x86 have qemu-system-x86_64
  need qemu-utils have qemu-img
  need mmdebstrap have mmdebstrap
  need debian-archive-keyring test -e /usr/share/keyrings/debian-archive-keyring.gpg
  need uidmap have newuidmap
  need util-linux have unshare
  need e2fsprogs have mkfs.ext4
  need xz-utils have xz
  need zstd have zstd
  need python3 have python3
  need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
  # The agent is linked statically: the C library's archive counts, not only its headers.
  need gcc have gcc
  need libc6-dev test -e "/usr/lib/$(uname -m)-linux-gnu/libc.a"
  if ! cargo_usable; then collect_rust; fi
  if $tests; then
    need shellcheck have shellcheck
    need erofs-utils have fsck.erofs
    need attr have getfattr
    need busybox-static test -x /bin/busybox
    need docker-registry have docker-registry
    need curl have curl
    need nginx-light have nginx
    need skopeo have skopeo
    need python3-pip test -d /usr/lib/python3/dist-packages/pip
    need python3-requests test -d /usr/lib/python3/dist-packages/requests
    need python3-jsonschema test -d /usr/lib/python3/dist-packages/jsonschema
    need nodejs have node
    need python3-ipykernel test -d /usr/lib/python3/dist-packages/ipykernel
    collect_linters
  fi
  # libFuzzer is built with the targets.
  if $fuzz; then need g++ have g++; fi
}

# Debian 12's own `rustc` is 1.63. It ships a recent one beside it, for what its browsers are built with.
collect_rust() {
  if have rustup; then
    die "cargo $(cargo_version) of rustup is older than $(msrv): run \`rustup update stable\`"
  fi
  local package
  for package in cargo rustc; do
    if dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed; then
      die "Debian's $package ($(cargo_version)) is older than $(msrv) and excludes the newer ${package}-web:" \
        "run \`apt-get remove cargo rustc\`, then this again"
    fi
  done
  packages+=(rustc-web cargo-web)
}

# Linters must fit the compiler: with a Rust from elsewhere they are its owner's to add, and the checks skip them.
collect_linters() {
  if have rustup; then
    if ! { cargo clippy --version && cargo fmt --version; } >/dev/null 2>&1; then
      say "clippy or rustfmt is missing: \`rustup component add clippy rustfmt\`"
    fi
  elif ! cargo_usable || dpkg-query --search "$(command -v cargo)" 2>/dev/null | grep -q '^cargo-web:'; then
    need rust-web-clippy have cargo-clippy
    need rustfmt-web have rustfmt
  fi
}

# --- QEMU's suite ------------------------------------------------------------------------------------------

# QEMU's packages need each other in one version. Where some are from backports already, the rest must be, or
# apt finds no solution. Prints that suite, or nothing.
qemu_suite() {
  local installed
  # It fails for the packages it does not know, and prints the others all the same.
  installed=$(dpkg-query --show --showformat '${db:Status-Status} ${Version}\n' qemu-utils qemu-system-common \
    qemu-system-data qemu-block-extra 2>/dev/null || true)
  if grep -q '^installed .*~bpo' <<<"$installed"; then
    printf '%s-backports' "$(os_release VERSION_CODENAME)"
  fi
}

# apt_indices: one line per package index that apt is configured for: codename, component, repository.
apt_indices() {
  apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages'
}

# Adds SUITE from the mirror that this machine takes its release from already.
enable_suite() {
  local suite=$1 release mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg signed_by=
  if apt_indices | grep -q "^$suite main "; then return; fi
  release=$(os_release VERSION_CODENAME)
  mirror=$(apt_indices | awk -v release="$release" '$1 == release && $2 == "main" { print $3; exit }')
  [[ -n $mirror ]] || die "apt has no source of $release/main to take the mirror of $suite from"
  say "QEMU's tools here are from $suite: enabling it, for the rest of QEMU"
  if [[ -e $keyring ]]; then signed_by="[signed-by=$keyring] "; fi
  printf 'deb %s%s %s main\n' "$signed_by" "$mirror" "$suite" |
    as_root tee /etc/apt/sources.list.d/spore-qemu.list >/dev/null
  apt_get update
}

install_packages() {
  local qemu=() other=() suite package
  suite=$(qemu_suite)
  for package in "${packages[@]}"; do
    case $package in
      qemu-*) qemu+=("$package") ;;
      *) other+=("$package") ;;
    esac
  done
  say "installing: ${packages[*]}"
  apt_get update
  if ((${#other[@]})); then apt_install "${other[@]}"; fi
  if ((${#qemu[@]})) && [[ -n $suite ]]; then
    enable_suite "$suite"
    apt_install --target-release "$suite" "${qemu[@]}"
  elif ((${#qemu[@]})); then
    apt_install "${qemu[@]}"
  fi
  if [[ " ${packages[*]} " == *" docker-registry "* ]]; then stop_service docker-registry; fi
  if [[ " ${packages[*]} " == *" nginx-light "* ]]; then stop_service nginx; fi
  hash -r
  cargo_usable || die "cargo $(cargo_version) is older than $(msrv): enable Debian's security archive" \
    "($(os_release VERSION_CODENAME)-security), or install Rust by rustup.rs"
}

# stop_service NAME: Debian's packages start a registry and a web server for the whole network, at every boot. Tests start
# their own. They are stopped only where the package was not there before, so they are nobody's. Both commands are of a
# package that every Debian has, respect policy-rc.d, and do without systemd.
stop_service() {
  as_root invoke-rc.d "$1" stop
  as_root update-rc.d "$1" disable
}

# --- QEMU 7.2 beside a newer one ---------------------------------------------------------------------------

# Leaves target/qemu-7.2/qemu-system-x86_64, which finds its own firmware and modules. Without it the tests that
# restore across QEMU releases skip, by name: so nothing here is fatal.
fetch_qemu_7_2() {
  local dir=target/qemu-7.2
  if [[ $(qemu-system-x86_64 --version) == *"version 7.2."* || -e $dir/complete ]]; then return; fi
  rm -rf "$dir"
  mkdir -p "$dir/debs"
  if ! download_qemu_7_2 "$dir/debs" 2>"$dir/log"; then
    # A machine that was set up long ago, or without package lists: newer lists may help, if we may fetch them.
    if ((EUID == 0)) || sudo -n true 2>/dev/null; then
      apt_get update >"$dir/log" 2>&1 || true
    fi
    if ! download_qemu_7_2 "$dir/debs" 2>>"$dir/log"; then
      say "QEMU 7.2 cannot be fetched ($dir/log): tests across QEMU releases will be skipped"
      return
    fi
  fi
  local deb missing
  for deb in "$dir"/debs/*.deb; do dpkg --extract "$deb" "$dir"; done
  missing=$(ldd "$dir/usr/bin/qemu-system-x86_64" | awk '/not found/ { print $1 }')
  if [[ -n $missing ]]; then
    say "QEMU 7.2 lacks ${missing//$'\n'/, }: tests across QEMU releases will be skipped"
    return
  fi
  rm -rf "$dir/debs" "$dir/usr/share/doc"
  cat >"$dir/qemu-system-x86_64" <<'WRAPPER'
#!/bin/sh
# Runs the QEMU that is unpacked here with its own firmware and modules, not the installed release's.
here=$(dirname "$(readlink -f "$0")")
QEMU_MODULE_DIR=$here/usr/lib/x86_64-linux-gnu/qemu
export QEMU_MODULE_DIR
exec "$here/usr/bin/qemu-system-x86_64" -L "$here/usr/share/qemu" -L "$here/usr/share/seabios" "$@"
WRAPPER
  chmod +x "$dir/qemu-system-x86_64"
  "$dir/qemu-system-x86_64" --version >/dev/null
  touch "$dir/complete"
}

# download_qemu_7_2 FOLDER: bookworm's packages, whatever is installed. apt's own user need not reach the folder.
download_qemu_7_2() (
  cd "$1"
  apt-get download -q -o APT::Sandbox::User=root \
    {qemu-system-x86,qemu-system-common,qemu-system-data,seabios,ipxe-qemu}/bookworm >/dev/null
)

# --- a kernel for the engine's tests -----------------------------------------------------------------------

# Leaves target/test-guest/{vmlinuz,modules}: the suite's cloud kernel, which is never installed on the host.
fetch_test_kernel() {
  local dir=target/test-guest package
  if [[ -e $dir/complete ]]; then return; fi
  rm -rf "$dir"
  mkdir -p "$dir/debs"
  package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image-/ { print $2; exit }')
  if [[ -z $package ]] || ! (cd "$dir/debs" && apt-get download -q -o APT::Sandbox::User=root "$package") \
    >"$dir/log" 2>&1; then
    say "no kernel can be fetched ($dir/log): the engine's conformance tests will be skipped"
    return
  fi
  dpkg --extract "$dir"/debs/*.deb "$dir/tree"
  mv "$dir"/tree/boot/vmlinuz-* "$dir/vmlinuz"
  mv "$dir"/tree/lib/modules/* "$dir/modules"
  rm -rf "$dir/debs" "$dir/tree"
  touch "$dir/complete"
}

# --- an S3 store -------------------------------------------------------------------------------------------

# Leaves target/garage/bin/garage, built from crates.io as its authors have locked it: Debian has none. That takes 7 CPU
# minutes, once; its speed matters to no test. Without it the tests of buckets skip, by name.
build_garage() {
  local version=2.5.0 dir=target/garage
  if [[ -e $dir/complete-$version ]]; then return; fi
  mkdir -p "$dir"
  say "building garage $version ($dir/log)"
  if ! CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_DEBUG=false CARGO_PROFILE_RELEASE_LTO=off \
    cargo install garage --version "=$version" --locked --no-default-features --features bundled-libs,sqlite \
    --root "$dir" --target-dir "$dir/build" --force >"$dir/log" 2>&1; then
    say "garage cannot be built ($dir/log): tests of buckets will be skipped"
    return
  fi
  rm -rf "$dir/build"
  touch "$dir/complete-$version"
}

# --- a client of registries --------------------------------------------------------------------------------

# Leaves target/oras, for Debian's Python: Debian has neither oras-py nor the oras that is written in Go. Without it the test
# that reads a snapshot by it skips, by name.
fetch_oras() {
  local version=0.2.43 dir=target/oras
  if [[ -e $dir/complete-$version ]]; then return; fi
  rm -rf "$dir"
  mkdir -p "$dir"
  if ! /usr/bin/python3 -m pip install --quiet --no-deps --only-binary :all: --target "$dir" --requirement \
    <(echo "oras==$version --hash=sha256:bf295b1cfb5017f579c35c3394c7a71707f6aff463cb6699d5d191a6d8b56ea6") >"$dir/log" 2>&1; then
    say "oras-py cannot be fetched ($dir/log): the test that uses it will be skipped"
    return
  fi
  touch "$dir/complete-$version"
}

# --- cargo-fuzz --------------------------------------------------------------------------------------------

# Leaves target/cargo-fuzz/bin/cargo-fuzz.
build_cargo_fuzz() {
  local version=0.13.2 dir=target/cargo-fuzz
  if [[ -e $dir/complete-$version ]]; then return; fi
  mkdir -p "$dir"
  say "building cargo-fuzz $version ($dir/log)"
  cargo install cargo-fuzz --version "=$version" --locked --root "$dir" --target-dir "$dir/build" --force \
    >"$dir/log" 2>&1 || die "cargo-fuzz cannot be built ($dir/log)"
  rm -rf "$dir/build"
  touch "$dir/complete-$version"
}

# -----------------------------------------------------------------------------------------------------------

if [[ $(os_release ID) != debian || $(os_release VERSION_ID) != 12 ]]; then
  say "this is $(os_release PRETTY_NAME), on which Spore is untested; Debian 12 is what it is tested on"
fi

collect_packages
if ((${#packages[@]})); then
  have apt-get || die "no apt-get here. Install what Debian calls: ${packages[*]}"
  install_packages
fi

if ((EUID != 0)) && ! grep -qs "^\($(id -un)\|$(id -u)\):" /etc/subuid; then
  say "no subordinate ids for $(id -un): baking from Debian packages needs them. As root:" \
    "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un)"
fi

if $tests; then
  fetch_qemu_7_2
  fetch_test_kernel
  build_garage
  fetch_oras
fi
if $fuzz; then build_cargo_fuzz; fi
