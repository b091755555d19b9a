# Groups are the only layers that a node chooses. A parent's settings are weaker than its child's.
group "base" {
  description = "Every managed machine."
  kernel_args = {
    "net.ifnames" = 0
  }
}

group "compute" {
  inherits = [group.base]
  image    = image.rocky9
  config   = template.seed # the machine fetches it at self_url("seed")
  vars = {
    role   = "compute"
    mirror = var.mirror
  }
  kernel_args = {
    quiet       = null                       # removes what defaults set
    console     = ["tty0", "ttyS1,115200n8"] # replaces the whole list
    intel_iommu = "on"
    hugepages   = 512
    seed        = self_url("seed")
  }
}

group "gpu" {
  inherits = [group.compute]
  vars     = { role = "gpu" }
  kernel_args = {
    intel_iommu          = null # gone for GPU machines only
    iommu                = "pt"
    "modprobe.blacklist" = "nouveau"
  }
}

# Machines whose firmware fails with iPXE: pxelinux loads the kernel.
group "old" {
  inherits = [group.base]
  image    = image.inventory
  loader   = loader.pxelinux
}

# Machines that nobody declared: see "unknown" of the subnet.
group "discovery" {
  image = image.inventory
  kernel_args = {
    quiet = null
  }
}

# This machine's boot script is written by hand.
group "special" {
  inherits = [group.base]
  image    = image.inventory
  script   = template.special
}

template "seed" {
  kind   = "text"
  source = "templates/seed.yaml.gotmpl" # .gotmpl is Go's text/template, .tmpl an HCL template
}

template "special" {
  kind   = "ipxe" # the result must begin with #!ipxe
  source = "templates/special.ipxe.tmpl"
}
