#!/usr/bin/env bash
# Installs what the lab and the tests need from Debian, and prepares the guest that the lab's machines boot: Debian's
# cloud kernel, and an initrd of busybox and the init script beside this file. Does nothing when all is there.
# usage: install.sh demo|test
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
umask 022 # machines read the guest through a server that may run as another user

packages=(qemu-system-x86 ipxe-qemu ovmf busybox-static cpio xz-utils iproute2 git)
if [ "${1:?demo or test}" = test ]; then
	packages+=(gcc libc6-dev pxelinux syslinux-common dnsmasq-base isc-dhcp-client udhcpc tftp-hpa curl openssh-server systemd)
fi

sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo -E)
updated=
refresh() { # the lists of a new machine are empty or old
	[ -n "$updated" ] || "${sudo[@]}" apt-get -qq update
	updated=1
}

# The state of a package that was never heard of is printed nowhere, hence the comparison by name.
missing=()
for p in "${packages[@]}"; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)" = installed ] || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
	echo "installing ${missing[*]}"
	refresh
	"${sudo[@]}" apt-get -qq install --no-install-recommends "${missing[@]}" >/dev/null </dev/null
fi

# A change of the recipe is another folder: an old guest is never taken for a new one.
recipe=$(cat "$here/install.sh" "$here/init" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hostler-lab
guest=$cache/$recipe
if [ ! -e "$guest/initrd.gz" ]; then
	echo "preparing the guest in $guest"
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	chmod 755 "$work"
	cd "$work"
	refresh
	kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ {print $2; exit}')
	apt-get -qq download "$kernel" 2>/dev/null
	dpkg -x ./*.deb kernel

	mkdir -p root/bin root/lib/modules root/proc root/sys root/dev
	cp /bin/busybox root/bin/
	cp "$here/init" root/init
	chmod 755 root root/init root/bin/busybox
	for m in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net; do
		file=$(find kernel -name "$m.ko*")
		cp "$file" root/lib/modules/
		case $file in *.xz) xz -d "root/lib/modules/$m.ko.xz" ;; esac
	done
	find root -exec touch -h -d @0 {} +

	mkdir -p "$cache"
	rm -rf "$guest.new"
	mkdir "$guest.new"
	cp kernel/boot/vmlinuz-* "$guest.new/vmlinuz"
	# Sorted, without owners, times, devices and inode numbers: the same packages give the same bytes.
	(cd root && find . | sort | cpio --quiet --reproducible --owner=0:0 -o -H newc) | gzip -9n >"$guest.new/initrd.gz"
	rm -rf "$guest"
	mv "$guest.new" "$guest"
fi
ln -sfn "$recipe" "$cache/guest"
