site "ams" {
  dns = ["10.10.0.53", "10.10.0.54"]
  ntp = ["10.10.0.123"]
}

subnet "prov" {
  site    = site.ams
  cidr    = "10.10.16.0/22"
  gateway = cidrhost("10.10.16.0/22", 1)

  pool "reserved" { # only addresses that a node declares
    range  = "10.10.16.32-10.10.17.255"
    serves = "reserved"
  }
  pool "boot" { # declared machines without an address of their own
    range  = "10.10.18.0-10.10.18.255"
    serves = "boot"
  }
  pool "discovery" { # machines that nobody declared
    range  = "10.10.19.0-10.10.19.200"
    serves = "unknown"
    lease {
      default = "10m"
      max     = "20m"
    }
  }
  option "interface-mtu" {
    value = 9000
  }
  unknown = group.discovery # without this line, hostler is silent towards undeclared machines
}

# A second segment, behind a relay agent. Nobody undeclared is answered here.
subnet "old" {
  site    = site.ams
  cidr    = "10.10.24.0/24"
  gateway = "10.10.24.1"
  relays  = ["10.10.24.2"]

  pool "reserved" {
    range  = "10.10.24.10-10.10.24.99"
    serves = "reserved"
  }
}
