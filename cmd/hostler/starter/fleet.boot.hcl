# A starter spec: change the addresses, the image and machines.csv to yours, then run `hostler plan`.
spec {
  language = 1
}

# The lowest layer. Precedence, weakest first: defaults < image < site < subnet < groups < node
defaults {
  kernel_args = {
    console = ["tty0", "ttyS0,115200n8"] # a list repeats the argument
    quiet   = true                       # true is a bare flag; null in a stronger layer removes it
  }
}

store "images" {
  local {
    path = "/srv/images" # a directory of the server
  }
}

image "live" {
  arch = "x86_64"

  file "kernel" {
    store = store.images
    key   = "live/vmlinuz"
  }
  file "initrd" {
    store = store.images
    key   = "live/initrd.img"
  }
}

group "compute" {
  image = image.live
}

subnet "provisioning" {
  cidr    = "192.0.2.0/24"
  gateway = "192.0.2.1"
  dns     = ["192.0.2.1"]

  pool "declared" { # addresses that machines.csv gives
    range  = "192.0.2.10-192.0.2.99"
    serves = "reserved"
  }
  pool "boot" { # for declared machines without an address of their own
    range  = "192.0.2.100-192.0.2.199"
    serves = "boot"
  }
}

node "all" {
  for_each = { for row in tabledecode("machines.csv") : row.name => row }

  name    = each.key
  subnet  = subnet.provisioning
  mac     = each.value.mac
  address = each.value.address == "" ? null : each.value.address
  groups  = [group.compute]
}
