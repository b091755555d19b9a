# Two machines on one segment, one with BIOS and one with UEFI firmware: what `make demo` boots.
spec {
  language = 1
}

variable "files" {
  description = "Directory of the server that holds vmlinuz and initrd.gz."
  type        = string
  default     = "/srv/hostler/lab"
}

# The lowest layer. Precedence, weakest first:
# defaults < image < site < subnet < groups (parents first) < node
defaults {
  kernel_args = {
    console = ["ttyS0,115200n8"] # a list is one argument repeated, in this order
    panic   = 60
    quiet   = true # true is a bare flag
  }
  lease {
    default = "10m"
    max     = "1h"
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

group "compute" {
  image = image.busybox
  kernel_args = {
    quiet     = null # removes what defaults set
    hugepages = 64
  }
}

subnet "lab" {
  cidr    = "10.77.0.0/24"
  gateway = "10.77.0.254"

  pool "reserved" { # only addresses that a node declares
    range  = "10.77.0.10-10.77.0.99"
    serves = "reserved"
  }
  pool "boot" { # declared machines without an address of their own
    range  = "10.77.0.100-10.77.0.199"
    serves = "boot"
  }
}

# One block, one row of the table for each machine.
node "lab" {
  for_each = { for r in tabledecode("machines.csv") : r.name => r }

  name     = each.key
  subnet   = subnet.lab
  mac      = each.value.mac
  address  = each.value.address == "" ? null : each.value.address
  firmware = each.value.firmware
  groups   = [group.compute]

  kernel_args = {
    machine = self.name # evaluated for each node
  }
}
