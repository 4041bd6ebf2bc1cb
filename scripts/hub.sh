#!/usr/bin/env bash
# Bakes the recipes that ship with Spore and publishes them to a hub, as NAME:VERSION and NAME:latest.
#
#   scripts/hub.sh HUB [RECIPE...]
#
# HUB is what `spore push --hub` takes; one that takes pages gets a catalogue. RECIPE is a folder in recipes/; by default
# all are but `tiny`, which is for trying things out. Started again after it was stopped, it bakes only what it has not
# baked of the same recipe with the same spore, and sends only what the hub lacks; REFRESH=1 bakes all again, with the
# packages of today. It works in HUB_ROOT, by default .hub/ here.
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

hub=${1:-}
if [ -z "$hub" ]; then
    echo 'usage: scripts/hub.sh HUB [RECIPE...]' >&2
    exit 2
fi
shift
spore=${SPORE:-$project/target/release/spore}
work=${HUB_ROOT:-$project/.hub}
root=$work/root
mkdir -p "$root"

say() { printf '\n== %s\n' "$*"; }

if [ $# -eq 0 ]; then
    for folder in "$project"/recipes/*/; do
        name=$(basename "$folder")
        [ "$name" = tiny ] || set -- "$@" "$name"
    done
fi

# Names what a bake is made of, short of the packages: all of the recipe's files with their permissions, and spore.
key() {
    {
        sha256sum <"$spore"
        (cd "$1" && find . -printf '%p %m %l\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum)
    } | sha256sum
}

# The first value of a key in what `spore bake` has said.
said() { sed -n "s/^ *\"$2\": \"\?\([^\",]*\)\"\?,\?$/\1/p" "$work/$1.json" | head -n 1; }

# Bakes a recipe unless it has been; leaves NAME.json, what was said, and NAME.seconds.
bake() {
    local name=$1 folder=$project/recipes/$1 new started
    new=$(key "$folder")
    if [ -z "${REFRESH:-}" ] && [ "$new" = "$(cat "$work/$name.key" 2>/dev/null)" ] &&
        "$spore" inspect --root "$root" "$name@$(said "$name" digest)" >/dev/null; then
        say "$name is baked already"
        return
    fi
    say "bake $name"
    rm -f "$work/$name.key"
    started=$SECONDS
    "$spore" bake "$folder" --root "$root" ${REFRESH:+--refresh} --format json >"$work/$name.json"
    echo $((SECONDS - started)) >"$work/$name.seconds"
    # Last: with it, the rest is complete.
    echo "$new" >"$work/$name.key"
}

mebibytes() { awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'; }

for name in "$@"; do
    bake "$name"
    # As they are said: the version comes before `latest`.
    for tag in $(grep -o "\"local/$name:[^\"]*\"" "$work/$name.json" | tr -d '"' | sed 's/.*://'); do
        "$spore" push --root "$root" "$name:$tag" --hub "$hub"
    done
done

say "published to $hub"
{
    echo '| recipe | bake | pack | memory part |'
    echo '|---|---|---|---|'
    for name in "$@"; do
        printf '| %s | %s s | %s | %s |\n' "$name" "$(cat "$work/$name.seconds")" \
            "$(mebibytes "$(said "$name" size)")" "$(mebibytes "$(said "$name" memory)")"
    done
} | tee "$work/table.md"

# A registry has no place for pages: spore knows which hubs have one.
say "index $hub"
"$spore" hub index "$hub" --where-possible
