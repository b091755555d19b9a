# Every loader that hostler knows, and the machines that need them. Most fleets need no loader block: BIOS, UEFI by PXE and by HTTP, and
# 64-bit ARM get an iPXE that is part of hostler.
spec {
  language = 1
}

variable "files" {
  description = "Directory of the server that holds images, and in loaders/ the programs of Debian's packages that the comments name."
  type        = string
  default     = "/srv/hostler/loaders"
}

store "files" {
  local {
    path = var.files
  }
}

defaults {
  image = image.debian
  kernel_args = {
    console = ["tty0", "ttyS0,115200n8"]
    panic   = 60
  }
  retry {
    delay     = "5s"
    max_delay = "1m"
  }
}

image "debian" {
  arch = "x86_64"

  file "kernel" { # signed by Debian, whose key is in Debian's shim
    store = store.files
    key   = "debian/vmlinuz"
  }
  file "initrd" {
    store = store.files
    key   = "debian/initrd.gz"
  }
}

image "debian-arm64" {
  arch = "arm64"
  kernel_args = {
    console = "ttyAMA0"
  }

  file "kernel" {
    store = store.files
    key   = "debian-arm64/vmlinuz"
  }
  file "initrd" {
    store = store.files
    key   = "debian-arm64/initrd.gz"
  }
}

image "raspios" {
  arch = "arm64"
  kernel_args = {
    console = ["serial0,115200", "tty1"]
  }

  file "kernel" {
    store = store.files
    key   = "raspios/kernel8.img"
  }
  file "initrd" {
    store = store.files
    key   = "raspios/initramfs8"
  }
}

# pxelinux with HTTP, of the packages pxelinux and syslinux-common. pxelinux.0 would fetch by TFTP.
loader "lpxelinux" {
  store = store.files
  key   = "loaders/lpxelinux.0"

  file "ldlinux.c32" {
    store = store.files
    key   = "loaders/ldlinux.c32"
  }
}

# Secure Boot: Microsoft signed the shim, Debian the GRUB that it loads. Packages shim-signed and grub-efi-amd64-signed; the shim asks
# for grubx64.efi, which is grubnetx64.efi.signed. This GRUB fetches by TFTP only.
loader "secure" {
  store = store.files
  key   = "loaders/shimx64.efi"

  file "grubx64.efi" {
    store = store.files
    key   = "loaders/grubnetx64.efi.signed"
  }
}

# Debian's own iPXE has no script, so it is given autoexec.ipxe.
loader "stock-ipxe" {
  store           = store.files
  key             = "loaders/snponly.efi"
  embedded_script = false
}

# The firmware of a Raspberry Pi 4, of the package raspi-firmware. It is chosen by the architecture that its boot ROM announces, or by its card.
loader "rpi" {
  client_arch = ["arm-rpiboot"]
  store       = store.files
  key         = "loaders/rpi/start4.elf"

  file "fixup4.dat" {
    store = store.files
    key   = "loaders/rpi/fixup4.dat"
  }
  file "bcm2711-rpi-4-b.dtb" {
    store = store.files
    key   = "loaders/rpi/bcm2711-rpi-4-b.dtb"
  }
  file "usercfg.txt" { # lines of its own for config.txt, which is hostler's
    store = store.files
    key   = "loaders/rpi/usercfg.txt"
  }
}

subnet "lab" {
  cidr = "10.78.0.0/24"

  pool "reserved" {
    range  = "10.78.0.10-10.78.0.99"
    serves = "reserved"
  }
}

node "ipxe-bios" {
  subnet   = subnet.lab
  mac      = "52:54:00:78:00:01"
  address  = "10.78.0.11"
  firmware = "bios"
}

node "ipxe-uefi" {
  subnet   = subnet.lab
  mac      = "52:54:00:78:00:02"
  address  = "10.78.0.12"
  firmware = "uefi"
}

node "lpxelinux" { # also when its network card has iPXE in it: what a node names comes first
  subnet   = subnet.lab
  mac      = "52:54:00:78:00:03"
  address  = "10.78.0.13"
  firmware = "bios"
  loader   = loader.lpxelinux
}

node "secure" {
  subnet   = subnet.lab
  mac      = "52:54:00:78:00:04"
  address  = "10.78.0.14"
  firmware = "uefi"
  loader   = loader.secure
}

node "stock" {
  subnet   = subnet.lab
  mac      = "52:54:00:78:00:05"
  address  = "10.78.0.15"
  firmware = "uefi"
  loader   = loader.stock-ipxe
}

node "arm64" {
  subnet   = subnet.lab
  mac      = "52:54:00:78:00:06"
  address  = "10.78.0.16"
  firmware = "uefi"
  image    = image.debian-arm64
}

node "pi4" {
  subnet   = subnet.lab
  mac      = "dc:a6:32:78:00:07"
  address  = "10.78.0.17"
  firmware = "rpi"
  image    = image.raspios
  ids      = { serial = "9ffefdef" } # names the folder that it asks in
}

node "installed" { # goes on to its disk
  subnet  = subnet.lab
  mac     = "52:54:00:78:00:08"
  address = "10.78.0.18"
  boot    = "disk"
}
