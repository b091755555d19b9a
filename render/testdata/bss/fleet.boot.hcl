# The compute node of HPE's document "Healthy Compute Node Boot Process", as a fleet.
spec {
  language = 1
}

store "images" {
  deliver = "direct"
  http {
    url = "http://rgw.local:8080/boot-images/"
  }
}

image "compute" {
  version = "29c2cc23-a9d6-4e9a-ab1a-b5fa9270c975"
  arch    = "x86_64"
  file "kernel" {
    store = store.images
    key   = "29c2cc23-a9d6-4e9a-ab1a-b5fa9270c975/kernel"
  }
  file "initrd" {
    store = store.images
    key   = "29c2cc23-a9d6-4e9a-ab1a-b5fa9270c975/initrd"
  }
}

group "compute" {
  image       = image.compute
  script_form = "bss"
  retry {
    delay     = "30s"
    max_delay = "30s"
    jitter    = 0
  }
  kernel_args = {
    console              = "ttyS0,115200"
    bad_page             = "panic"
    crashkernel          = "360M"
    hugepagelist         = "2m-2g"
    intel_iommu          = "off"
    intel_pstate         = "disable"
    iommu                = "pt"
    ip                   = "dhcp"
    numa_interleave_omit = "headless"
    numa_zonelist_order  = "node"
    oops                 = "panic"
    pageblock_order      = 14
    pcie_ports           = "native"
    "printk.synchronous" = "y"
    "rd.neednet"         = 1
    "rd.retry"           = 10
    "rd.shell"           = true
    k8s_gw               = "api-gw-service-nmn.local"
    quiet                = true
    turbo_boost_limit    = 999
    root                 = "craycps-s3:s3://boot-images/29c2cc23-a9d6-4e9a-ab1a-b5fa9270c975/rootfs:8c274aecef9e1668a8a44e8cfc2b24b5-165:dvs:api-gw-service-nmn.local:300:eth0"
    xname                = self.ids.xname
    nid                  = self.ids.nid
  }
  kernel_args_order = [
    "console", "bad_page", "crashkernel", "hugepagelist", "intel_iommu", "intel_pstate", "iommu", "ip", "numa_interleave_omit",
    "numa_zonelist_order", "oops", "pageblock_order", "pcie_ports", "printk.synchronous", "rd.neednet", "rd.retry", "rd.shell",
    "k8s_gw", "quiet", "turbo_boost_limit", "root", "xname", "nid",
  ]
}

subnet "nmn" {
  cidr = "10.252.0.0/17"
  pool "boot" {
    range  = "10.252.1.1-10.252.1.254"
    serves = "boot"
  }
}

node "nid000004" {
  mac    = "a4:bf:01:3e:c0:a2"
  subnet = subnet.nmn
  groups = [group.compute]
  ids    = { xname = "x3000c0s17b4n0", nid = 4 }
}
