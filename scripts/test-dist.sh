#!/usr/bin/env bash
# Tries what `make dist` makes: the same bytes twice, and the .deb in a clean Debian 12, where it is installed by root, used by
# an ordinary user, mended by `spore doctor --fix`, installed again over an older store, and removed.
#
#   scripts/test-dist.sh             with target/dist made anew, twice
#   REBUILD=1 scripts/test-dist.sh   compiles all of it once more, from a copy of the sources in another folder
#
# Needs root: for a tree of files with owners, and to change into it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'test-dist: %s\n' "$*" >&2; }
die() { say "FAILED: $*"; exit 1; }

if ((EUID != 0)); then
  echo "skipped: test-dist: it needs root, for a clean Debian to install into"
  exit 0
fi

work=$(mktemp -d /tmp/spore-dist.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/debian

# --- the same bytes ----------------------------------------------------------------------------------------

same_twice() {
  scripts/dist.sh
  cp target/dist/SHA256SUMS "$work/first"
  (cd target/dist && sha256sum --quiet --check SHA256SUMS) || die "SHA256SUMS is not of these files"
  scripts/dist.sh 2>/dev/null >&2
  diff "$work/first" target/dist/SHA256SUMS || die "made twice, it is not the same"
  say "made twice: the same bytes"
}

# Another folder, another time, another mask, and nothing compiled before.
same_elsewhere() {
  local copy=$work/elsewhere/sources
  mkdir -p "$copy"
  git ls-files -z | xargs -0 cp --parents --no-dereference --target-directory="$copy"
  (umask 077 && cd "$copy" && SOURCE_DATE_EPOCH=$(git -C "$OLDPWD" log -1 --format=%ct) scripts/dist.sh >/dev/null)
  diff "$work/first" "$copy/target/dist/SHA256SUMS" || die "compiled elsewhere, it is not the same"
  rm -rf "$work/elsewhere"
  say "compiled elsewhere: the same bytes"
}

# --- a clean Debian 12 -------------------------------------------------------------------------------------

make_debian() {
  local mirror=${SPORE_DEBIAN_MIRROR:-http://deb.debian.org/debian}
  local security=${SPORE_DEBIAN_SECURITY_MIRROR:-http://deb.debian.org/debian-security}
  local options=() option
  # A host whose clock or mirror is not of today says so to its own apt.
  while read -r option; do options+=("--aptopt=$option"); done < <(apt-config dump --format '%f "%v";%n' Acquire::Check-Valid-Until Acquire::Check-Date)
  # bash-completion loads completions; zsh and fish have theirs. The rest is what every Debian has.
  mmdebstrap --quiet --mode=root --variant=minbase --include=bash-completion,zsh,fish,man-db "${options[@]}" \
    --dpkgopt='path-include=/usr/share/man/*' bookworm "$root" \
    "deb $mirror bookworm main" "deb $mirror bookworm-updates main" "deb $security bookworm-security main"
  # Packages start no services in here.
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod +x "$root/usr/sbin/policy-rc.d"
  within useradd --create-home ann
}

# within COMMAND...: as root in there, with /proc, and with processes of its own that end with it.
within() {
  unshare --mount --pid --fork --kill-child --propagation=private sh -c '
    mount -t proc proc "$0/proc" && mount -t tmpfs tmpfs "$0/tmp" && root=$0 &&
      exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 chroot "$root" "$@"' "$root" "$@"
}

# ann COMMAND...: as an ordinary user in there.
ann() { within setpriv --reuid=ann --regid=ann --init-groups env HOME=/home/ann USER=ann "$@"; }

# has TEXT COMMAND...: the command succeeds, and its output has the text.
has() {
  local text=$1 output
  shift
  output=$("$@" 2>&1) || die "$*: $output"
  [[ $output == *"$text"* ]] || die "$*: no '$text' in: $output"
  say "$*: has '$text'"
}

install_deb() {
  cp target/dist/spore_*.deb "$root/root/"
  within sh -c 'apt-get update -q && apt-get install -q -y --no-install-recommends /root/spore_*.deb' >"$work/log" 2>&1 ||
    die "it cannot be installed: $(tail -5 "$work/log")"
  has "install ok installed" within dpkg-query --show --showformat '${Status}' qemu-system-x86
}

use() {
  local shell
  has "spore $(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)" ann spore --version
  has '"ready_to_fork": true' ann spore doctor --format json
  has "SPORE" ann sh -c 'MANPAGER=cat man spore'
  has "hub" ann sh -c 'MANPAGER=cat man spore-hub-serve'
  has "version" ann bash -c '. /usr/share/bash-completion/bash_completion; _completion_loader spore
    COMP_WORDS=(spore ver) COMP_CWORD=1 COMP_LINE="spore ver" COMP_POINT=9; $(complete -p spore | sed -E "s/.*-F ([^ ]+).*/\1/") spore ver spore; echo "${COMPREPLY[@]}"'
  has "_spore" ann zsh -c 'autoload -U compinit && compinit -D && echo $_comps[spore] && autoload +X _spore'
  has "version" ann fish -c 'complete --do-complete "spore ver"'
  for shell in bash zsh fish; do has "spore" ann spore completions "$shell"; done
  has "Apache-2.0" ann cat /usr/share/doc/spore/copyright
  has "Unreleased" ann zcat /usr/share/doc/spore/changelog.gz
  has 'name = "python-numpy"' ann cat /usr/share/spore/recipes/python-numpy/recipe.toml
}

# What only bakes need was not installed: doctor names it to ann, and installs it as root.
mend() {
  has "sudo apt-get install -y --no-install-recommends" ann spore doctor
  has "would do:" within spore doctor --fix --dry-run
  has "done:" within spore doctor --fix --yes
  has "install ok installed" within dpkg-query --show --showformat '${Status}' mmdebstrap
  has "nothing was mended" within spore doctor --fix --yes
}

# A store of before there were versions is read and upgraded; one of a later Spore is refused, and nothing in it changed.
upgrade() {
  ann sh -c 'rm ~/.local/share/spore/version'
  within sh -c 'apt-get install -q -y --reinstall /root/spore_*.deb' >"$work/log" 2>&1 || die "$(tail -5 "$work/log")"
  ann spore images >/dev/null
  has "1" ann sh -c 'cat ~/.local/share/spore/version'
  ann sh -c 'echo 2 >~/.local/share/spore/version'
  has "this Spore knows versions up to 1; exit 4" ann sh -c 'spore images 2>&1 | sed "s/: install.*//" | tr -d "\n"; echo "; exit $(spore images >/dev/null 2>&1; echo $?)"'
  ann sh -c 'echo 1 >~/.local/share/spore/version'
}

remove() {
  local left file
  within dpkg --listfiles spore >"$work/files"
  within apt-get purge -q -y spore >"$work/log" 2>&1 || die "it cannot be removed: $(tail -5 "$work/log")"
  left=$(cd "$root" && while read -r file; do if [[ -f .$file ]]; then echo "$file"; fi; done <"$work/files" &&
    find etc usr var -name '*spore*')
  [[ -z $left ]] || die "left behind: $left"
  [[ -e $root/home/ann/.local/share/spore/oci-layout ]] || die "a user's store was removed"
  say "removed: no file is left, and the user's store is"
}

same_twice
if [[ -n ${REBUILD:-} ]]; then same_elsewhere; fi
make_debian
install_deb
use
mend
upgrade
remove
say "ok"
