#!/usr/bin/env bash
# Installs what the lab and the tests need from Debian, and prepares the guest that the lab's machines boot: Debian's
# cloud kernel, and an initrd of busybox and the init script beside this file. For the tests, also the guest for 64-bit ARM, and the
# loaders that are not part of hostler, and a clean Debian to install the package in. Does nothing when all is there.
# For the benchmarks, also the programs that hostler is measured beside.
# usage: install.sh demo|test|bench
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
umask 022 # machines read the guest through a server that may run as another user

packages=(qemu-system-x86 ipxe-qemu ovmf busybox-static cpio xz-utils iproute2 git)
if [ "${1:?demo, test or bench}" != demo ]; then
	packages+=(gcc libc6-dev pxelinux syslinux-common dnsmasq-base isc-dhcp-client udhcpc tftp-hpa atftp nftables libwrap0 curl openssh-server systemd
		qemu-system-arm qemu-efi-aarch64 libdevmapper1.02.1 tshark e2fsprogs debconf debootstrap systemd-container buildah libcap2-bin)
fi
[ "$1" != bench ] || packages+=(wrk nginx-light strace)

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

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# fetch ROOT PACKAGE... unpacks packages without installing them: for another architecture when foreign says so. Then apt
# keeps its lists in a folder of ours, and the machine's own know nothing of it.
foreign=()
fetch() {
	local root=$1 debs
	shift
	debs=$(mktemp -d -p "$work")
	chmod 755 "$debs"
	(cd "$debs" && apt-get -qq "${foreign[@]}" download "$@" 2>/dev/null)
	for d in "$debs"/*.deb; do dpkg -x "$d" "$root"; done
}

# kernel_of ARCH is the package that the cloud kernel's name stands for today.
kernel_of() { apt-cache "${foreign[@]}" depends "linux-image-cloud-$1" | awk '/Depends:/ {print $2; exit}'; }

# prepare FOLDER ARCH BUSYBOX makes vmlinuz and initrd.gz.
prepare() {
	local to=$1 kernel root m file
	kernel=$(mktemp -d -p "$work") root=$(mktemp -d -p "$work")
	fetch "$kernel" "$(kernel_of "$2")"
	mkdir -p "$root"/{bin,lib/modules,proc,sys,dev} "$to"
	cp "$3" "$root/bin/busybox"
	cp "$here/init" "$root/init"
	chmod 755 "$root" "$root/init" "$root/bin/busybox"
	for m in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net virtio_blk veth llc stp garp mrp 8021q; do
		file=$(find "$kernel" -name "$m.ko*")
		cp "$file" "$root/lib/modules/"
		case $file in *.xz) xz -d "$root/lib/modules/$m.ko.xz" ;; esac
	done
	find "$root" -exec touch -h -d @0 {} +
	cp "$kernel"/boot/vmlinuz-* "$to/vmlinuz"
	# Sorted, without owners, times, devices and inode numbers: the same packages give the same bytes.
	(cd "$root" && find . | sort | cpio --quiet --reproducible --owner=0:0 -o -H newc) | gzip -9n >"$to/initrd.gz"
	rm -rf "$kernel" "$root"
}

# place FROM TO moves a folder to another file system, and gives it its name only once it is whole.
place() {
	rm -rf "$2" "$2.new"
	mv "$1" "$2.new"
	mv "$2.new" "$2"
}

# A change of the recipe is another folder: an old guest is never taken for a new one.
recipe=$(cat "$here/install.sh" "$here/init" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hostler-lab
guest=$cache/$recipe
mkdir -p "$cache"
if [ ! -e "$guest/initrd.gz" ]; then
	echo "preparing the guest in $guest"
	refresh
	prepare "$work/guest" amd64 /bin/busybox
	place "$work/guest" "$guest"
fi
if [ "$1" = test ] && [ ! -e "$guest/loaders" ]; then
	echo "preparing loaders in $guest"
	refresh
	fetch "$work/unpacked" shim-signed grub-efi-amd64-signed grub-efi-amd64-bin grub-common
	mkdir "$work/loaders"
	cp "$work/unpacked/usr/lib/shim/shimx64.efi.signed" "$work/loaders/shimx64.efi"
	cp "$work/unpacked/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed" "$work/loaders/grubx64.efi" # the name that shim asks for
	cp "$work/unpacked/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" "$work/loaders/grub-disk.efi"
	cp /usr/lib/PXELINUX/lpxelinux.0 /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/loaders/"
	# Debian's signed GRUB looks for /grub/grub.cfg only. One that is made for a network looks for its MAC's configuration first, and one of
	# an old or peculiar site for its address's.
	grub() { # FILE [GRUB-MKIMAGE'S OPTIONS]
		"$work/unpacked/usr/bin/grub-mkimage" -d "$work/unpacked/usr/lib/grub/x86_64-efi" -O x86_64-efi -p /grub -o "$work/loaders/$1" "${@:2}" \
			efinet tftp http normal linux serial terminal echo configfile test true sleep reboot
	}
	grub grub.efi
	echo "normal /grub/grub.cfg-0A4D0013" >"$work/grub-address.cfg" # 10.77.0.19
	grub grub-address.efi -c "$work/grub-address.cfg"
	place "$work/loaders" "$guest/loaders"
fi
if [ "$1" = test ] && [ ! -e "$guest/arm64" ]; then
	echo "preparing the guest for 64-bit ARM in $guest"
	mkdir -p "$work"/lists/partial "$work/cache"
	foreign=(-oAPT::Architecture=arm64 -oAPT::Architectures=arm64 -oDir::State::Lists="$work/lists" -oDir::Cache="$work/cache"
		-oAcquire::Languages=none -oDebug::NoLocking=1)
	apt-get -qq "${foreign[@]}" update
	fetch "$work/arm64-unpacked" busybox-static
	prepare "$work/arm64" arm64 "$work/arm64-unpacked/bin/busybox"
	place "$work/arm64" "$guest/arm64"
fi
if [ "$1" = test ] && [ ! -e "$guest/tftpd-hpa" ]; then # to compare with; installed, it would begin to serve this host
	refresh
	fetch "$work/tftpd-hpa" tftpd-hpa
	place "$work/tftpd-hpa" "$guest/tftpd-hpa"
fi
ln -sfn "$recipe" "$cache/guest"

# Kea and its load generator to compare with: installed, they would begin to serve this host.
if [ "$1" = bench ] && [ ! -e "$cache/peers" ]; then
	echo "unpacking Kea"
	refresh
	mapfile -t libraries < <(apt-cache depends --recurse --no-pre-depends --no-recommends --no-suggests --no-conflicts --no-breaks \
		--no-replaces --no-enhances kea-common | grep '^lib' | grep -v '^libc6')
	fetch "$work/peers" kea-dhcp4-server kea-admin kea-common "${libraries[@]}"
	place "$work/peers" "$cache/peers"
fi

# promtool, which checks the metrics, the rules and the dashboard. Its package would start a Prometheus server, so it is unpacked
# and not installed.
if [ "$1" = test ] && [ ! -x "$cache/promtool" ]; then
	echo "unpacking promtool"
	foreign=()
	refresh
	fetch "$work/prometheus" prometheus
	mv "$work/prometheus/usr/bin/promtool" "$cache/promtool.new"
	mv "$cache/promtool.new" "$cache/promtool"
fi

# A real S3 server for tests, in Go as hostler is; no package has it.
if [ "$1" = test ] && [ ! -x "$cache/versitygw" ]; then
	echo "building versitygw"
	GOBIN="$work" GOFLAGS=-trimpath CGO_ENABLED=0 go install github.com/versity/versitygw/cmd/versitygw@v1.8.0 2>"$work/log" || { tail "$work/log" >&2; exit 1; }
	mv "$work/versitygw" "$cache/versitygw.new"
	mv "$cache/versitygw.new" "$cache/versitygw"
fi

if [ "$1" = test ]; then
	suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
	debian=$cache/debian-$suite
	if [ ! -e "$debian" ]; then
		echo "preparing a clean Debian in $debian"
		mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk -v suite="$suite" '$1 == suite {print $2; exit}')
		"${sudo[@]}" debootstrap --variant=minbase --include=systemd,systemd-sysv,iproute2,udhcpc "$suite" "$work/debian" "$mirror" >"$work/log" ||
			{ tail "$work/log" >&2; exit 1; }
		"${sudo[@]}" rm -rf "$work"/debian/var/{cache/apt,lib/apt/lists}/*
		place "$work/debian" "$debian"
	fi
	ln -sfn "debian-$suite" "$cache/debian"
fi
