# A small cluster in the style of a Cray EX: compute nodes known by xname and nid, images in S3, kernel arguments in the order that
# their tools expect, and a policy for what to do when an image cannot be had. Copy it, and change names and addresses.
spec {
  language = 1
}

variable "s3" {
  description = "Endpoint of the S3 service, as nodes and hostler reach it."
  type        = string
  default     = "http://rgw.local:8080"
}

defaults {
  # Half a minute, then longer, and not all nodes of a cabinet at once; after three attempts the rescue image.
  retry {
    delay     = "30s"
    max_delay = "2m"
    jitter    = 25
    attempts  = 3
    fallback  = image.rescue
    hold      = "15m"
  }
}

group "compute" {
  image = image.compute
  kernel_args = merge(kargs("console=ttyS0,115200 bad_page=panic crashkernel=360M hugepagelist=2m-2g intel_iommu=off intel_pstate=disable iommu=pt ip=dhcp"),
    kargs("numa_interleave_omit=headless numa_zonelist_order=node oops=panic pageblock_order=14 pcie_ports=native printk.synchronous=y"),
    kargs("rd.neednet=1 rd.retry=10 rd.shell k8s_gw=api-gw-service-nmn.local quiet turbo_boost_limit=999"), {
      xname = self.ids.xname # evaluated for each node
      nid   = self.ids.nid
  })
  # Keys that are not named here, root among them, would come after these, sorted.
  kernel_args_order = [
    "console", "bad_page", "crashkernel", "hugepagelist", "intel_iommu", "intel_pstate", "iommu", "ip", "numa_interleave_omit",
    "numa_zonelist_order", "oops", "pageblock_order", "pcie_ports", "printk.synchronous", "rd.neednet", "rd.retry", "rd.shell",
    "k8s_gw", "quiet", "turbo_boost_limit", "root", "xname", "nid",
  ]
}

# Login nodes: as compute nodes, but for a few arguments.
group "uan" {
  inherits = [group.compute]
  kernel_args = {
    crashkernel       = "512M"
    turbo_boost_limit = null # removes what compute sets
  }
}

# The node management network.
subnet "nmn" {
  cidr    = "10.77.0.0/24"
  gateway = "10.77.0.254"

  pool "reserved" { # only addresses that a node declares
    range  = "10.77.0.10-10.77.0.99"
    serves = "reserved"
  }
  pool "boot" { # declared nodes without an address of their own
    range  = "10.77.0.100-10.77.0.199"
    serves = "boot"
  }
}

# One block, one row of the table for each node.
node "mountain" {
  for_each = { for r in tabledecode("nodes.csv") : r.xname => r }

  name     = each.value.name
  subnet   = subnet.nmn
  mac      = each.value.mac
  address  = each.value.address == "" ? null : each.value.address
  firmware = each.value.firmware
  groups   = [group[each.value.role]]
  ids      = { xname = each.key, nid = each.value.nid }
}
