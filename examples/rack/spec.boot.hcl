# A rack row with two subnets: compute and GPU machines that boot over the network each time, old machines that know only
# pxelinux, and a discovery image for machines that nobody declared. Copy it, and change names and addresses.
spec {
  language      = 1
  strict_layers = true # two groups that disagree about a machine are an error, not a warning
}

variable "mirror" {
  description = "Base URL of the mirror that machines install packages from."
  type        = string
  default     = "http://mirror.example.net"
}

# The lowest layer. Precedence, weakest first:
# defaults < image < site < subnet < groups (parents first, in the order listed) < node
defaults {
  domain = "rack.example.net"
  kernel_args = {
    console = ["tty0", "ttyS0,115200n8"] # a list is one argument repeated, in this order
    panic   = 60
    quiet   = true # true is a bare flag
  }
  lease {
    default = "1h"
    max     = "12h"
  }
}

# Directories of the server. Machines get the files from hostler itself, by their digest.
store "images" {
  local {
    path = "/srv/hostler/images"
  }
}

store "pxelinux" {
  local {
    path = "/usr/lib/PXELINUX"
  }
}

store "syslinux" {
  local {
    path = "/usr/lib/syslinux/modules/bios"
  }
}

# Loaders for common firmware are built in. This one serves machines whose group names it.
loader "pxelinux" {
  store = store.pxelinux
  key   = "lpxelinux.0"
  file "ldlinux.c32" {
    store = store.syslinux
    key   = "ldlinux.c32"
  }
}

image "rocky9" {
  version = "9.6"
  arch    = "x86_64"

  file "kernel" {
    store = store.images
    key   = "rocky9/vmlinuz"
  }
  file "initrd" {
    store = store.images
    key   = "rocky9/initrd.img"
  }
  file "squashfs" { # a name of its own, for url()
    store = store.images
    key   = "rocky9/live.squashfs"
  }
  kernel_args = {
    root            = "live:${url("squashfs")}" # filled in when a machine asks
    "rd.live.image" = true
  }
}

image "inventory" {
  version = "7"
  arch    = "x86_64"

  file "kernel" {
    store = store.images
    key   = "inventory/vmlinuz"
  }
  file "initrd" {
    store = store.images
    key   = "inventory/initrd.gz"
  }
}
