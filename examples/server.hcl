# The configuration of one server: /etc/hostler/server.hcl, or the file that -config names. It lies outside the
# repository with the spec, because it says what to trust. Only what differs from the defaults needs to be written; every
# setting is shown here, those that are at their default as comments.

# Where the spec comes from. Without this block, name the source as an argument: hostler serve -interface=eth1 SOURCE
source {
  # A repository (https, ssh, user@host:path), or a directory of this machine by its absolute path. A directory that is the
  # root of a git repository is read at its commits; any other directory as its files are.
  url = "https://git.example.net/infra/boot.git"

  # branch = "main"      # default: the one that HEAD names
  # path   = "fleets/ams" # folder of the spec inside the source; default: its root

  poll = "60s"  # how often to look; changes of a directory on this machine are seen at once
  sync = "auto" # auto applies each good revision; manual waits for "hostler apply"

  # Apply a revision that does not contain the one being served, as after a forced push.
  allow_rewind = false

  # Secrets are never written here: each setting names a file that only hostler can read.
  auth {
    token_file = "/etc/hostler/git-token"
    username   = "git" # beside the token

    # ssh_key_file     = "/etc/hostler/id_ed25519"
    # known_hosts_file = "/etc/hostler/known_hosts"
    # ca_file          = "/etc/hostler/ca.pem" # authorities besides those of the system
  }
}

# Values of the spec's variables for this server.
inputs {
  vars = {
    env = "prod"
  }
}

# The interfaces on which machines are served. No other is listened on: not by DHCP, TFTP or boot HTTP.
interface "eth1" {}
interface "eth2.40" {}

# coredhcp's own plugins can stand in the DHCP chain before and after hostler, in the order of this file: dns, ipv6only, mtu, netmask,
# router, searchdomains, sleep and staticroute, each once, with the arguments that coredhcp documents. What they say is said to
# every machine of every subnet, and "hostler plan" does not know it: it names them, and so does "hostler status". The spec's
# options are the better way wherever they do.
# plugin "mtu" {
#   place = "after" # the default, or "before"
#   args  = ["9000"]
# }

# DHCP has no address to choose: it is UDP port 67 of each interface above.
listen {
  tftp = "0.0.0.0:69"
  http = "0.0.0.0:8080"

  # https       = "0.0.0.0:8443"   # besides http; needs the tls block below
  # cloud_init  = "0.0.0.0:8888"   # what cloud-init asks for, besides http, and nothing else
  # metrics     = "127.0.0.1:9100" # /metrics, /healthz and /readyz, and nothing else; default: on the socket only
  # path_prefix = "/apis/bss"      # in front of every boot URL

  # Send files from port 69 too instead of a port for each transfer: for machines behind an address translator, as a Kubernetes
  # service is one. What an address says about a machine is not used then.
  # tftp_single_port = true
}

# What the https listener shows: RSA, in PEM. Both files are read again when they change. "Files over TLS" in docs/operating.md says
# which loaders trust it.
# tls {
#   cert_file = "/etc/hostler/tls/chain.pem" # the server's certificate, then its issuer, up to the root
#   key_file  = "/etc/hostler/tls/key.pem"
#   machines  = true # send hostler's own loaders for UEFI to https; default: nobody is
# }

# At the addresses of a Boot Script Service (/boot/v1/bootparameters, hosts, endpoint-history) a machine may see its own parameters. These
# may see those of all nodes; default: nobody.
# bss {
#   readers    = ["10.1.0.0/24"]          # clients of these networks
#   token_file = "/etc/hostler/bss-token" # and who sends what is in it: Authorization: Bearer TOKEN
# }

# The base of the URLs that machines are given, if they reach this server through a proxy. Default: the address that each
# machine talks to.
# advertise = "https://boot.example.net/pxe"

# Leases, the revision being served, files and history.
state_dir = "/var/lib/hostler"

# Below which directories the spec may declare local stores. Whoever may commit to the repository chooses what machines can fetch: name
# the directories that are meant for them. Default: anywhere that the server's user may read.
store_roots = ["/srv/images"]

# Where "hostler status" and the other commands of operators find the server.
socket = "/run/hostler/admin.sock"

# Where the secrets of templates are: "Secrets" in docs/operating.md. secret("slurm/munge-key") is the file of that name below directory, or
# else the environment variable HOSTLER_SECRET_SLURM_MUNGE_KEY. Both are read each time.
# secrets {
#   directory  = "/etc/hostler/secrets"
#   env_prefix = "HOSTLER_SECRET_"
# }

# What opens the buckets of stores of kind s3: "Images in S3" in docs/operating.md. One block for each set of keys; of several with one
# endpoint, a store gets the one that names its bucket.
# s3 "images" {
#   endpoint        = "https://s3.example.net" # as in the store
#   buckets         = ["boot-images"] # the only ones that a spec may name; default: all that the keys open
#   access_key_file = "/etc/hostler/s3/access-key"
#   secret_key_file = "/etc/hostler/s3/secret-key"
#   session_token_file = "/run/hostler/s3/token" # of temporary keys; all three are read again at each poll
#   ca_file = "/etc/hostler/s3/ca.pem" # authorities that hostler trusts besides those of the system
# }

# Or from the environment of the server.
# s3 "lab" {
#   endpoint          = "http://10.0.0.9:7480"
#   access_key_env    = "S3_ACCESS_KEY"
#   secret_key_env    = "S3_SECRET_KEY"
#   session_token_env = "S3_SESSION_TOKEN"
# }

limits {
  eval_time        = "1m"   # for evaluating a revision; one that takes longer is refused
  eval_memory      = "4GiB" # the same
  tftp_transfers   = 1024   # at the same time
  tftp_per_client  = 8      # of one address at the same time; not with tftp_single_port
  http_connections = 4096   # open at the same time; further ones wait
  http_per_client  = 8      # files on their way to one address at the same time; further ones wait
  http_drain       = "10s"  # how long running transfers may go on when the server is stopped
}
