# Builds a Debian tree and a tar archive of it, as root of namespaces of its own.
# $1 work folder (made by the caller), $2 variant, $3 suite, $4 packages (comma-separated), $5 keyring,
# $6 time of what the build itself writes, should the tree hold no packaged file. In the work folder: `fetch`
# and `keep` are the sources to build from and to leave in the tree; made are `tree`, `base.tar` and, for packages
# that are only unpacked, `unpacked`.
work=$1 variant=$2 suite=$3 packages=$4 keyring=$5 epoch=$6
tree=$work/tree
mkdir "$tree"
: >"$work/start"

# Without SOURCE_DATE_EPOCH: where it is set, py3compile makes .pyc files that hash their source at each import.
list='for deb in "$1"/var/cache/apt/archives/*.deb; do
    dpkg-deb --field "$deb" Package Version Source; echo; done >"$LIST"'
LIST=$work/unpacked TMPDIR=$work mmdebstrap --mode=root --format=directory --variant="$variant" \
    --skip=chroot/mount/sys --keyring="$keyring" ${packages:+--include="$packages"} \
    --extract-hook="$list" "$suite" "$tree" "$work/fetch"

cd "$tree"
empty() { [ ! -d "$1" ] || find "$1" -xdev -mindepth 1 -delete; }
for folder in dev proc sys run tmp var/tmp var/cache/apt var/lib/apt/lists var/cache/ldconfig var/log/apt; do
    empty "$folder"
done
for folder in dev proc sys run tmp; do mkdir -p "$folder"; done
chmod 1777 tmp
rm -f etc/passwd- etc/group- etc/shadow- etc/gshadow- etc/subuid- etc/subgid- var/lib/dpkg/*-old \
    var/cache/debconf/*-old var/lib/dbus/machine-id var/lib/systemd/random-seed etc/ssh/ssh_host_*
# Everybody would have the private key that ssl-cert makes.
[ ! -d etc/ssl ] || find etc/ssl \( -name 'ssl-cert-snakeoil.*' -o -lname 'ssl-cert-snakeoil.*' \) -delete
[ ! -d var/log ] || find var/log -xdev -type f -exec truncate -s 0 {} +
rm -f etc/hostname etc/resolv.conf etc/machine-id
echo localhost >etc/hostname
: >etc/resolv.conf
: >etc/machine-id
mkdir -p etc/apt
empty etc/apt/sources.list.d
rm -f etc/apt/apt.conf.d/99mmdebstrap
cat "$work/keep" >etc/apt/sources.list
# The day of the last change of a password is the day of the build.
if [ -f etc/shadow ]; then
    awk -F: -v OFS=: -v day=$((epoch / 86400)) '$3 != "" { $3 = day } 1' etc/shadow >"$work/shadow"
    cat "$work/shadow" >etc/shadow
fi

# What came out of packages keeps its time; what is newer than the start was written by the build and gets
# the time of the newest packaged file: a function of the packages, not of the clock.
newest=$(find . -xdev -type f ! -newer "$work/start" -printf '%T@\n' | sort -n | tail -n 1)
newest=${newest%%.*}
tar --create --file="$work/base.tar" --format=pax --numeric-owner --sort=name --one-file-system \
    --xattrs --xattrs-include='*' --clamp-mtime --mtime="@${newest:-$epoch}" .
cd /
