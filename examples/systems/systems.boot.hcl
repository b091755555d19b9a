# One machine for each kind of configuration that hostler checks, with the kernel arguments by which its system finds it. The texts are
# in templates/; "The configuration of a system" and "Secrets" in docs/operating.md say how they are checked and who gets them.
spec {
  language = 1
}

store "images" {
  local {
    path = "/srv/images"
  }
}

image "ubuntu" { # a live system with cloud-init
  file "kernel" {
    store = store.images
    key   = "ubuntu/vmlinuz"
  }
  file "initrd" {
    store = store.images
    key   = "ubuntu/initrd"
  }
  kernel_args = { ds = "nocloud;s=${seed_url()}/" } # user-data, vendor-data and network-config are below it
}

image "coreos" {
  file "kernel" {
    store = store.images
    key   = "coreos/vmlinuz"
  }
  file "initrd" {
    store = store.images
    key   = "coreos/initrd.img"
  }
  kernel_args = {
    "ignition.firstboot"   = true
    "ignition.platform.id" = "metal"
    "ignition.config.url"  = self_url("coreos")
  }
}

image "rocky" { # its installer
  file "kernel" {
    store = store.images
    key   = "rocky/vmlinuz"
  }
  file "initrd" {
    store = store.images
    key   = "rocky/initrd.img"
  }
  kernel_args = { "inst.ks" = self_url("rocky") }
}

image "debian" { # its installer
  file "kernel" {
    store = store.images
    key   = "debian/linux"
  }
  file "initrd" {
    store = store.images
    key   = "debian/initrd.gz"
  }
  kernel_args = {
    auto     = "true"
    priority = "critical"
    url      = self_url("debian")
  }
}

image "talos" {
  file "kernel" {
    store = store.images
    key   = "talos/vmlinuz-amd64"
  }
  file "initrd" {
    store = store.images
    key   = "talos/initramfs-amd64.xz"
  }
  kernel_args = {
    "talos.platform" = "metal"
    "talos.config"   = self_url("talos")
  }
}

template "ubuntu" {
  kind       = "cloud-init"
  source     = "templates/user-data.yaml.gotmpl"
  deliveries = 2 # in one boot: cloud-init asks once, and once more when an answer is lost
}

template "network" {
  kind   = "cloud-init"
  source = "templates/network-config.yaml.gotmpl"
}

template "coreos" {
  kind         = "ignition"
  source       = "templates/ignition.json.gotmpl"
  content_type = "application/vnd.coreos.ignition+json"
}

template "rocky" {
  kind   = "kickstart"
  source = "templates/kickstart.cfg.gotmpl"
}

template "debian" {
  kind   = "preseed"
  source = "templates/preseed.cfg.gotmpl"
}

template "talos" {
  kind   = "talos"
  source = "templates/talos.yaml.tmpl" # in HCL's template language
  vars   = { endpoint = "https://10.20.0.5:6443" }
}

subnet "systems" {
  cidr    = "10.20.0.0/24"
  gateway = "10.20.0.1"
  vars    = { ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJq6kI1x0Vb5mG3T6oB1yq2nq8H4yM0v2q3r4s5t6u7v operators" }

  pool "machines" {
    range  = "10.20.0.10-10.20.0.99"
    serves = "reserved"
  }
}

node "cloud1" {
  subnet  = subnet.systems
  mac     = "52:54:00:20:00:01"
  address = "10.20.0.11"
  image   = image.ubuntu
  config  = { user-data = template.ubuntu, network-config = template.network }
}

node "core1" {
  subnet  = subnet.systems
  mac     = "52:54:00:20:00:02"
  address = "10.20.0.12"
  image   = image.coreos
  config  = template.coreos
}

node "rocky1" {
  subnet  = subnet.systems
  mac     = "52:54:00:20:00:03"
  address = "10.20.0.13"
  image   = image.rocky
  config  = template.rocky
}

node "debian1" {
  subnet  = subnet.systems
  mac     = "52:54:00:20:00:04"
  address = "10.20.0.14"
  image   = image.debian
  config  = template.debian
}

node "talos1" {
  subnet  = subnet.systems
  mac     = "52:54:00:20:00:05"
  address = "10.20.0.15"
  image   = image.talos
  config  = template.talos
}
