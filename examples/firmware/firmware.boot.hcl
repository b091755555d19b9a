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

# UEFI HTTP boot: the firmware fetches hostler's ipxe.efi by a URL.
node "uefi-http" {
  subnet   = subnet.lab
  mac      = "52:54:00:77:01:01"
  address  = "10.77.0.11"
  firmware = "uefi"
  image    = image.busybox
}

node "arm64" {
  subnet   = subnet.lab
  mac      = "52:54:00:77:01:04"
  address  = "10.77.0.14"
  firmware = "uefi"
  image    = image.busybox-arm64
}
