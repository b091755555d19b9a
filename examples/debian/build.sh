#!/usr/bin/env bash
# Makes a Debian package of a hostler binary, with nothing but dpkg-deb. The same inputs give the same bytes.
# usage: build.sh BINARY VERSION OUTPUT.deb [ARCHITECTURE]
#
# VERSION is what "git describe" says. Without a tag it is a commit, which has no order: the commit's date stands before it then,
# so that a later package is an upgrade.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binary=$1 version=$2 output=$3 arch=${4:-$(dpkg --print-architecture)}

export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct)}
case $version in
v[0-9]*) version=${version#v} ;;
[0-9]*.*) ;;
*) version=0.0.0+git$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S).$version ;;
esac
version=${version//-/.} # Debian's own revision would stand behind a hyphen

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
put() { install -D -m "$1" "$2" "$root/$3"; }

put 755 "$binary" usr/bin/hostler
put 644 "$here/sysusers.conf" usr/lib/sysusers.d/hostler.conf
sed -e 's|/usr/local/bin/|/usr/bin/|' -e '/^# By hand:/,/^#$/d' "$here/../systemd/hostler.service" |
	install -D -m 644 /dev/stdin "$root/usr/lib/systemd/system/hostler.service"
put 644 "$here/copyright" usr/share/doc/hostler/copyright
put 644 "$here/../../docs/notices.md" usr/share/doc/hostler/notices.md
put 644 "$here/../../docs/operating.md" usr/share/doc/hostler/operating.md
put 644 "$here/../../docs/language.md" usr/share/doc/hostler/language.md
put 644 "$here/../server.hcl" usr/share/doc/hostler/examples/server.hcl
gzip -9nc "$here/../../CHANGELOG.md" | install -D -m 644 /dev/stdin "$root/usr/share/doc/hostler/changelog.gz"

for script in postinst prerm postrm; do put 755 "$here/$script" "DEBIAN/$script"; done
size=$(du -sk --exclude=DEBIAN "$root" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$arch/" -e "s/@SIZE@/$size/" "$here/control" |
	install -D -m 644 /dev/stdin "$root/DEBIAN/control"
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) | install -m 644 /dev/stdin "$root/DEBIAN/md5sums"

dpkg-deb --root-owner-group -Zxz --build "$root" "$output" >/dev/null
echo "$output: hostler $version for $arch"
