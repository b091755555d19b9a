module hostler

go 1.26.0

require (
	github.com/apparentlymart/go-cidr v1.1.1 // the cidr functions, as Terraform users know them
	github.com/apparentlymart/go-textseg/v17 v17.0.1 // characters as people count them, for columns and string functions
	github.com/coredhcp/coredhcp v0.0.0-20260217182248-a0841cb3038f // plugin, handler and configuration types: other coredhcp plugins stand before and after ours
	github.com/fsnotify/fsnotify v1.10.1 // hints that a file of a directory source or a ref changed
	github.com/getkin/kin-openapi v0.152.0 // holds the served OpenAPI document against the handlers, in tests
	github.com/go-git/go-billy/v5 v5.9.2 // the file system that go-git reads repositories through
	github.com/go-git/go-git/v5 v5.19.3 // reads repositories without a git binary
	github.com/google/go-cmp v0.7.0 // readable differences in tests
	github.com/hashicorp/cli v1.1.7 // subcommands and help, laid out as Terraform's
	github.com/hashicorp/hcl/v2 v2.25.0 // the specification language
	github.com/insomniacslk/dhcp v0.0.0-20260901064844-234b97448fae // DHCP packets to structures and back
	github.com/mdlayher/packet v1.2.0 // unicast to a client that has no address yet (AF_PACKET)
	github.com/oklog/ulid/v2 v2.1.2 // boot ids that sort by time
	github.com/prometheus/client_golang v1.25.0 // counters, histograms and their text for /metrics
	github.com/rogpeppe/go-internal v1.16.0 // testscript: the command line tested as its users type it; diff: what fmt and plan show
	github.com/tinkerbell/ipxedust v0.0.0-20250812160707-a4542aee25c6 // iPXE binaries for BIOS, UEFI and arm64, inside ours
	github.com/vishvananda/netlink v1.3.1 // addresses and links of the served interfaces, and their changes
	github.com/zclconf/go-cty v1.19.0 // values of the specification language
	github.com/zclconf/go-cty-yaml v1.2.0 // yamldecode and yamlencode
	go.etcd.io/bbolt v1.5.0 // the embedded state store
	go.yaml.in/yaml/v3 v3.0.5 // bounds YAML text and tells the lines of rows, which yamldecode does not
	golang.org/x/crypto v0.57.0 // known_hosts
	golang.org/x/net v0.59.0 // control messages and packet filters of raw sockets; a bound for connections; the only way into go-git's SSH dialing
	golang.org/x/sync v0.23.0 // errgroup: whoever starts a goroutine waits for it
	golang.org/x/sys v0.48.0 // socket options, locks and limits
	golang.org/x/term v0.46.0 // terminal width, and whether there is one
)

require (
	dario.cat/mergo v1.0.1 // indirect
	github.com/Masterminds/goutils v1.1.1 // indirect
	github.com/Masterminds/semver/v3 v3.2.0 // indirect
	github.com/Masterminds/sprig/v3 v3.2.3 // indirect
	github.com/Microsoft/go-winio v0.6.2 // indirect
	github.com/ProtonMail/go-crypto v1.1.6 // indirect
	github.com/agext/levenshtein v1.2.1 // indirect
	github.com/apparentlymart/go-textseg/v15 v15.0.0 // indirect
	github.com/armon/go-radix v1.0.0 // indirect
	github.com/aws/aws-sdk-go-v2 v1.39.2 // indirect
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/bgentry/speakeasy v0.1.0 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/chappjc/logrus-prefix v0.0.0-20180227015900-3a1d64819adb // indirect
	github.com/cloudflare/circl v1.6.3 // indirect
	github.com/coreos/go-json v0.0.0-20230131223807-18775e0fb4fb // indirect
	github.com/coreos/go-semver v0.3.1 // indirect
	github.com/coreos/go-systemd/v22 v22.6.0 // indirect
	github.com/coreos/ignition/v2 v2.24.0 // what an Ignition configuration must be, by the code that machines run
	github.com/coreos/vcontext v0.0.0-20230201181013-d72178a18687 // where Ignition says that a mistake is
	github.com/cyphar/filepath-securejoin v0.6.1 // indirect
	github.com/emirpasic/gods v1.18.1 // indirect
	github.com/fatih/color v1.16.0 // indirect
	github.com/go-git/gcfg v1.5.1-0.20230307220236-3a3c6141e376 // indirect
	github.com/go-openapi/jsonpointer v0.22.5 // indirect
	github.com/go-openapi/swag/jsonname v0.25.5 // indirect
	github.com/go-viper/mapstructure/v2 v2.4.0 // indirect
	github.com/golang/groupcache v0.0.0-20241129210726-2c02b8208cf8 // indirect
	github.com/google/gopacket v1.1.19 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/hashicorp/errwrap v1.0.0 // indirect
	github.com/hashicorp/go-multierror v1.0.0 // indirect
	github.com/huandu/xstrings v1.3.3 // indirect
	github.com/imdario/mergo v0.3.11 // indirect
	github.com/jbenet/go-context v0.0.0-20150711004518-d14ea06fba99 // indirect
	github.com/kevinburke/ssh_config v1.2.0 // indirect
	github.com/mattn/go-colorable v0.1.13 // indirect
	github.com/mattn/go-isatty v0.0.20 // indirect
	github.com/mdlayher/socket v0.7.0 // indirect
	github.com/mgutz/ansi v0.0.0-20200706080929-d51e80ef957d // indirect
	github.com/mitchellh/copystructure v1.2.0 // indirect
	github.com/mitchellh/go-wordwrap v1.0.1 // indirect
	github.com/mitchellh/reflectwalk v1.0.2 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/nxadm/tail v1.4.11 // indirect
	github.com/oasdiff/yaml v0.1.1 // indirect
	github.com/oasdiff/yaml3 v0.0.14 // indirect
	github.com/pelletier/go-toml/v2 v2.2.4 // indirect
	github.com/pierrec/lz4/v4 v4.1.22 // indirect
	github.com/pjbgf/sha1cd v0.7.0 // indirect
	github.com/posener/complete v1.2.3 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	github.com/rifflock/lfshook v0.0.0-20180920164130-b9218ef580f5 // indirect
	github.com/sagikazarmark/locafero v0.11.0 // indirect
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3 // holds cloud-init and Talos configurations against their schemas
	github.com/sergi/go-diff v1.3.2-0.20230802210424-5b0b94c5c0d3 // indirect
	github.com/shopspring/decimal v1.2.0 // indirect
	github.com/sirupsen/logrus v1.9.3 // indirect
	github.com/skeema/knownhosts v1.3.1 // indirect
	github.com/sourcegraph/conc v0.3.1-0.20240121214520-5f936abd7ae8 // indirect
	github.com/spf13/afero v1.15.0 // indirect
	github.com/spf13/cast v1.10.0 // indirect
	github.com/spf13/pflag v1.0.10 // indirect
	github.com/spf13/viper v1.21.0 // indirect
	github.com/subosito/gotenv v1.6.0 // indirect
	github.com/u-root/uio v0.0.0-20240224005618-d2acac8f3701 // indirect
	github.com/vincent-petithory/dataurl v1.0.0 // indirect
	github.com/vishvananda/netns v0.0.5 // indirect
	github.com/xanzy/ssh-agent v0.3.3 // indirect
	golang.org/x/mod v0.41.0 // indirect
	golang.org/x/text v0.42.0 // what the schema library says of a mistake, in English
	golang.org/x/tools v0.49.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
	gopkg.in/warnings.v0 v0.1.2 // indirect
)
