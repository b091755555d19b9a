# One machine for each way in which firmware comes to a kernel. What hostler chooses by itself has no word here: only machines that
# shall not boot as hostler would boot them name a loader.
spec {
  language = 1
}

variable "files" {
  description = "Directory of the server that holds vmlinuz, initrd.gz, and the same for 64-bit ARM in arm64."
  type        = string
  default     = "/srv/hostler/lab"
}

defaults {
  kernel_args = {
    console = "ttyS0,115200n8"
    panic   = 60
    machine = self.name # evaluated for each node
  }
}

store "lab" {
  local {
    path = var.files
  }
}

image "busybox" {
  version = "1"
  arch    = "x86_64"

  file "kernel" {
    store = store.lab
    key   = "vmlinuz"
  }
  file "initrd" {
    store = store.lab
    key   = "initrd.gz"
  }
}

image "busybox-arm64" {
  version = "1"
  arch    = "arm64"
  kernel_args = {
    console = "ttyAMA0"
  }

  file "kernel" {
    store = store.lab
    key   = "arm64/vmlinuz"
  }
  file "initrd" {
    store = store.lab
    key   = "arm64/initrd.gz"
  }
}

subnet "lab" {
  cidr = "10.77.0.0/24"

  pool "reserved" {
    range  = "10.77.0.10-10.77.0.99"
    serves = "reserved"
  }
}

# The program that hostler gives to a BIOS whose card has no iPXE in its ROM. To have it on every machine, whatever iPXE its card has, is
# to name it.
loader "undionly" {
  file = "undionly.kpxe"
}

loader "pxelinux" {
  store = store.lab
  key   = "loaders/lpxelinux.0"
  file "ldlinux.c32" {
    store = store.lab
    key   = "loaders/ldlinux.c32"
  }
}

# Machines with Secure Boot run only what is signed with Microsoft's keys: the distribution's shim, which runs the GRUB beside it, which
# runs the distribution's kernels.
loader "shim" {
  store = store.lab
  key   = "loaders/shimx64.efi"
  file "grubx64.efi" {
    store = store.lab
    key   = "loaders/grubx64.efi"
  }
}

# A GRUB that was made with the http module.
loader "grub" {
  store     = store.lab
  key       = "loaders/grub.efi"
  transport = "http"
}

loader "grub-address" {
  store = store.lab
  key   = "loaders/grub-address.efi"
}

# UEFI HTTP boot: the firmware fetches hostler's ipxe.efi by a URL.
node "uefi-http" {
  subnet   = subnet.lab
  mac      = "52:54:00:77:01:01"
  address  = "10.77.0.11"
  firmware = "uefi"
  image    = image.busybox
}

node "undionly" {
  subnet   = subnet.lab
  mac      = "52:54:00:77:01:02"
  address  = "10.77.0.12"
  firmware = "bios"
  loader   = loader.undionly
  image    = image.busybox
}

node "pxelinux" {
  subnet   = subnet.lab
  mac      = "52:54:00:77:01:03"
  address  = "10.77.0.13"
  firmware = "bios"
  loader   = loader.pxelinux
  image    = image.busybox
}

node "arm64" {
  subnet   = subnet.lab
  mac      = "52:54:00:77:01:04"
  address  = "10.77.0.14"
  firmware = "uefi"
  image    = image.busybox-arm64
}

node "grub-mac" {
  subnet   = subnet.lab
  mac      = "52:54:00:77:01:08"
  address  = "10.77.0.18"
  firmware = "uefi"
  loader   = loader.grub
  image    = image.busybox
}

node "grub-address" {
  subnet   = subnet.lab
  mac      = "52:54:00:77:01:09"
  address  = "10.77.0.19"
  firmware = "uefi"
  loader   = loader.grub-address
  image    = image.busybox
}

node "secure-boot" {
  subnet   = subnet.lab
  mac      = "52:54:00:77:01:0a"
  address  = "10.77.0.20"
  firmware = "uefi"
  loader   = loader.shim
  image    = image.busybox
}

# What is installed on the disk boots, as if there were no network.
group "installed" {
  image = image.busybox
  boot  = "disk"
}

node "disk-bios" {
  subnet   = subnet.lab
  mac      = "52:54:00:77:01:05"
  address  = "10.77.0.15"
  firmware = "bios"
  groups   = [group.installed]
}

node "disk-uefi" {
  subnet   = subnet.lab
  mac      = "52:54:00:77:01:06"
  address  = "10.77.0.16"
  firmware = "uefi"
  groups   = [group.installed]
}

node "disk-http" {
  subnet   = subnet.lab
  mac      = "52:54:00:77:01:07"
  address  = "10.77.0.17"
  firmware = "uefi"
  groups   = [group.installed]
}

node "disk-pxelinux" {
  subnet   = subnet.lab
  mac      = "52:54:00:77:01:0b"
  address  = "10.77.0.21"
  firmware = "bios"
  loader   = loader.pxelinux
  groups   = [group.installed]
}
