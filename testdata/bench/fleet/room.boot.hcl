spec {
  language = 1
}

group "anybody" {}

subnet "room" {
  cidr    = "10.64.0.0/12"
  unknown = group.anybody
  pool "any" {
    range  = "10.65.0.0-10.79.255.254"
    serves = "any"
  }
}
