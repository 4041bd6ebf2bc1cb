#!/usr/bin/env bash
# What Spore does, from nothing: bake a warm Python with NumPy, push it to a hub in a folder, pull it into an empty
# root while the one it was baked in is out of reach, fork it, use the copies, and see that they are not alike.
# All it makes lies in .demo/ (DEMO_DIR); what is expensive, packages and kernel, is kept there for the next run.
set -euo pipefail
cd "$(dirname "$0")/.."

spore=${SPORE:-$PWD/target/release/spore}
demo=${DEMO_DIR:-$PWD/.demo}
count=${DEMO_FORKS:-10}
baker=$demo/baker hub=$demo/hub user=$demo/elsewhere/user away=$demo/out-of-reach

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '\033[2m$ spore %s\033[0m\n' "$*"; "$spore" "$@"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

cleanup() {
    [ -d "$user" ] && "$spore" --root "$user" kill --all >/dev/null 2>&1 || true
    rm -rf "$user" "$hub"
    if [ -d "$away" ]; then mv "$away" "$baker"; fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# A run that was killed may have left the root away.
[ -d "$away" ] && [ ! -d "$baker" ] && mv "$away" "$baker"
rm -rf "$user" "$hub"
mkdir -p "$baker" "$hub" "$user"
started=$SECONDS

say "Bake: boot a VM, import NumPy in it, freeze it"
run bake recipes/python-numpy --root "$baker"

say "Push it to a hub, which here is a folder"
run push python-numpy --hub "$hub" --root "$baker"

say "On another host: the root it was baked in is out of reach, and ours is empty"
mv "$baker" "$away"
pulled=$SECONDS
run pull --hub "$hub" python-numpy --root "$user"

say "Fork it $count times"
run fork python-numpy -n "$count" --root "$user"
mapfile -t ids < <("$spore" ps --format json --root "$user" | sed -n 's/.*"id": "\(.*\)".*/\1/p')
[ "${#ids[@]}" -eq "$count" ] || fail "${#ids[@]} sandboxes run: expected $count"

say "NumPy is imported already in each of them"
for id in "${ids[@]}"; do
    answer=$("$spore" eval "$id" 'numpy.zeros(5).tolist()' --root "$user")
    [ "$answer" = "[0.0, 0.0, 0.0, 0.0, 0.0]" ] || fail "$id answered $answer"
    printf '%s  numpy.zeros(5).tolist() = %s\n' "$id" "$answer"
done
printf 'from pull to the last answer: %d s\n' $((SECONDS - pulled))

say "No two are alike: host name, machine-id, random numbers, disk"
printf '%-14s  %-32s  %-20s  %-20s  %s\n' HOSTNAME MACHINE-ID random.random numpy.random.rand DISK
seen=$demo/seen
: > "$seen"
for id in "${ids[@]}"; do
    "$spore" exec "$id" --root "$user" -- sh -c 'hostname > /root/who-am-i'
done
for id in "${ids[@]}"; do
    identity=$("$spore" exec "$id" --root "$user" -- sh -c 'echo $(hostname) $(cat /etc/machine-id)')
    random=$("$spore" eval "$id" 'print(random.random(), numpy.random.rand())' --root "$user")
    disk=$("$spore" exec "$id" --root "$user" -- cat /root/who-am-i)
    # shellcheck disable=SC2086
    printf '%-14s  %-32s  %-20s  %-20s  %s\n' $identity $random $disk | tee -a "$seen"
done
for column in 1 2 3 4 5; do
    alike=$(awk -v c=$column '{ print $c }' "$seen" | sort | uniq -d)
    [ -z "$alike" ] || fail "column $column is alike in two of them: $alike"
done
rm -f "$seen"

say "End them"
run kill --all --root "$user" >/dev/null
[ -z "$("$spore" ps -a --root "$user" | tail -n +2)" ] || fail "sandboxes are left"
printf 'all of it took %d s\n' $((SECONDS - started))
