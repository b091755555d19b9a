# One block for the whole table; each row is a machine. An empty address leaves the choice to the pool "boot".
node "row" {
  for_each = { for r in tabledecode("machines.csv") : r.name => r }

  name     = each.key
  subnet   = subnet.prov
  mac      = each.value.mac
  address  = each.value.address == "" ? null : each.value.address
  firmware = each.value.firmware
  groups   = [group[each.value.role]]
  labels   = { rack = each.value.rack }
}

# A machine with settings of its own, and two ports.
node "gpu09" {
  subnet   = subnet.prov
  firmware = "uefi"
  groups   = [group.gpu]

  interface "eno1" {
    mac     = "52:54:00:10:09:01"
    address = "10.10.16.99"
    boot    = true
  }
  interface "eno2" {
    mac = "52:54:00:10:09:02"
  }
  kernel_args = {
    hugepages = 1024      # this machine only
    host      = self.name # evaluated for each node
  }
}

node "store1" {
  subnet   = subnet.old
  mac      = "52:54:00:24:00:01"
  address  = "10.10.24.10"
  firmware = "bios"
  groups   = [group.old]
}

node "console1" {
  subnet   = subnet.prov
  mac      = "52:54:00:10:08:01"
  firmware = "uefi"
  groups   = [group.special]
}
