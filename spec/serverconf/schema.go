package serverconf

import (
	"errors"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// block is one kind of block and what it may hold. The table decides what is known, and how each value reaches the Config.
type block struct {
	name   string // empty: the file
	label  string // what its one label means; empty: it has none
	many   bool
	attrs  []setting
	blocks []*block
	// refused says why a name is not possible: it belongs to a later version, or must not be in this file. What is refused
	// stops the server; a trust root or a guard that was silently ignored would be worse than none.
	refused map[string]string
	begin   func(c *Config, label string) error
	end     func(c *Config) error // looks at the whole block; nil: there is nothing to look at
}

// setting is one attribute.
type setting struct {
	name     string
	required bool
	set      func(c *Config, v cty.Value) error
}

const (
	later   = "This version of hostler does not do it yet."
	secrets = "Secrets are not written into this file. Put it into a file that only hostler can read, and name that file with "
)

func fileBlock() *block {
	return &block{
		attrs: []setting{
			{name: "advertise", set: text(func(c *Config) *string { return &c.Advertise }, baseURL)},
			{name: "socket", set: text(func(c *Config) *string { return &c.Socket }, socketPath)},
			{name: "store_roots", set: texts(func(c *Config) *[]string { return &c.StoreRoots }, absolute)},
			{name: "state_dir", set: text(func(c *Config) *string { return &c.StateDir }, absolute)},
		},
		blocks: []*block{sourceBlock(), inputsBlock(), interfaceBlock(), pluginBlock(), listenBlock(), tlsBlock(), bssBlock(), secretsBlock(), s3Block(), limitsBlock()},
		refused: map[string]string{
			"verify":  later + " A server that should check signatures must not run without.",
			"guard":   later + " A server that should be guarded must not run without.",
			"webhook": later + " Changes are found by polling.",
			"notify":  later,
			"status":  later,
			"peers":   later,
		},
	}
}

func sourceBlock() *block {
	return &block{
		name: "source",
		attrs: []setting{
			{name: "url", required: true, set: text(func(c *Config) *string { return &c.Source.URL }, location)},
			{name: "branch", set: text(func(c *Config) *string { return &c.Source.Branch }, oneWord)},
			{name: "path", set: text(func(c *Config) *string { return &c.Source.Path }, inside)},
			{name: "poll", set: duration(func(c *Config) *duration64 { return &c.Source.Poll }, second, day)},
			{name: "sync", set: text(func(c *Config) *string { return &c.Source.Sync }, oneOf("auto", "manual"))},
			{name: "allow_rewind", set: boolean(func(c *Config) *bool { return &c.Source.AllowRewind })},
		},
		blocks: []*block{{
			name: "auth",
			attrs: []setting{
				{name: "token_file", set: text(func(c *Config) *string { return &c.Source.TokenFile }, absolute)},
				{name: "ssh_key_file", set: text(func(c *Config) *string { return &c.Source.SSHKeyFile }, absolute)},
				{name: "known_hosts_file", set: text(func(c *Config) *string { return &c.Source.KnownHostsFile }, absolute)},
				{name: "username", set: text(func(c *Config) *string { return &c.Source.Username }, oneWord)},
				{name: "ca_file", set: text(func(c *Config) *string { return &c.Source.CAFile }, absolute)},
			},
			refused: map[string]string{
				"token":       secrets + "token_file.",
				"password":    secrets + "token_file.",
				"ssh_key":     secrets + "ssh_key_file.",
				"private_key": secrets + "ssh_key_file.",
			},
		}},
		refused: map[string]string{
			"kind":           "A git repository is told from a directory by looking at it.",
			"interval":       "It is called poll.",
			"timeout":        later,
			"retry_interval": later,
			"backend":        later,
		},
	}
}

func inputsBlock() *block {
	return &block{
		name:    "inputs",
		attrs:   []setting{{name: "vars", set: setVars}},
		refused: map[string]string{"var_files": later},
	}
}

func interfaceBlock() *block {
	return &block{name: "interface", label: "NAME", many: true, begin: addInterface}
}

func pluginBlock() *block {
	return &block{
		name: "plugin", label: "NAME", many: true, begin: addPlugin,
		attrs: []setting{
			{name: "place", set: text(func(c *Config) *string { return &lastPlugin(c).Place }, oneOf("before", "after"))},
			{name: "args", set: texts(func(c *Config) *[]string { return &lastPlugin(c).Args }, argument)},
		},
	}
}

func listenBlock() *block {
	return &block{
		name: "listen",
		attrs: []setting{
			{name: "tftp", set: address(func(c *Config) *addrPort { return &c.Listen.TFTP })},
			{name: "tftp_single_port", set: boolean(func(c *Config) *bool { return &c.Listen.TFTPSinglePort })},
			{name: "http", set: address(func(c *Config) *addrPort { return &c.Listen.HTTP })},
			{name: "https", set: address(func(c *Config) *addrPort { return &c.Listen.HTTPS })},
			{name: "cloud_init", set: address(func(c *Config) *addrPort { return &c.Listen.CloudInit })},
			{name: "metrics", set: address(func(c *Config) *addrPort { return &c.Listen.Metrics })},
			{name: "path_prefix", set: text(func(c *Config) *string { return &c.Listen.PathPrefix }, pathPrefix)},
		},
		refused: map[string]string{
			"dhcp":     "DHCP listens on UDP port 67 of each interface block; there is nothing to choose.",
			"admin":    later + " The operator's commands use the socket.",
			"tls_cert": "It is called cert_file, in a tls block.",
			"tls_key":  "It is called key_file, in a tls block.",
		},
	}
}

func bssBlock() *block {
	return &block{
		name: "bss",
		attrs: []setting{
			{name: "readers", set: readers},
			{name: "token_file", set: text(func(c *Config) *string { return &c.BSS.TokenFile }, absolute)},
		},
		refused: map[string]string{"token": secrets + "token_file."},
	}
}

func tlsBlock() *block {
	return &block{
		name: "tls",
		attrs: []setting{
			{name: "cert_file", required: true, set: text(func(c *Config) *string { return &c.TLS.CertFile }, absolute)},
			{name: "key_file", required: true, set: text(func(c *Config) *string { return &c.TLS.KeyFile }, absolute)},
			{name: "machines", set: boolean(func(c *Config) *bool { return &c.TLS.Machines })},
		},
		refused: map[string]string{
			"key":     secrets + "key_file.",
			"ca_file": "The loaders are told to trust the last certificate of cert_file: write the root there.",
		},
	}
}

func secretsBlock() *block {
	return &block{
		name: "secrets",
		attrs: []setting{
			{name: "directory", set: text(func(c *Config) *string { return &c.Secrets.Folder }, absolute)},
			{name: "env_prefix", set: text(func(c *Config) *string { return &c.Secrets.EnvPrefix }, envPrefix)},
		},
		end: func(c *Config) error {
			if c.Secrets == (Secrets{}) {
				return errors.New("directory or env_prefix is required")
			}
			return nil
		},
		refused: map[string]string{
			"file":  "Each secret is a file below directory, or an environment variable that begins with env_prefix.",
			"env":   "Each secret is a file below directory, or an environment variable that begins with env_prefix.",
			"vault": later,
			"exec":  later,
		},
	}
}

func s3Block() *block {
	return &block{
		name: "s3", label: "NAME", many: true, begin: addS3, end: endS3,
		attrs: []setting{
			{name: "endpoint", required: true, set: text(func(c *Config) *string { return &lastS3(c).Endpoint }, endpoint)},
			{name: "buckets", set: texts(func(c *Config) *[]string { return &lastS3(c).Buckets }, oneWord)},
			{name: "access_key_file", set: text(func(c *Config) *string { return &lastS3(c).AccessKeyFile }, absolute)},
			{name: "access_key_env", set: text(func(c *Config) *string { return &lastS3(c).AccessKeyEnv }, oneWord)},
			{name: "secret_key_file", set: text(func(c *Config) *string { return &lastS3(c).SecretKeyFile }, absolute)},
			{name: "secret_key_env", set: text(func(c *Config) *string { return &lastS3(c).SecretKeyEnv }, oneWord)},
			{name: "session_token_file", set: text(func(c *Config) *string { return &lastS3(c).SessionTokenFile }, absolute)},
			{name: "session_token_env", set: text(func(c *Config) *string { return &lastS3(c).SessionTokenEnv }, oneWord)},
			{name: "ca_file", set: text(func(c *Config) *string { return &lastS3(c).CAFile }, absolute)},
		},
		refused: map[string]string{
			"access_key":    secrets + "access_key_file, or an environment variable with access_key_env.",
			"secret_key":    secrets + "secret_key_file, or an environment variable with secret_key_env.",
			"session_token": secrets + "session_token_file, or an environment variable with session_token_env.",
			"region":        "The region of a bucket is part of the spec's store.",
			"bucket":        "Several are possible: buckets = [\"boot-images\"].",
		},
	}
}

func limitsBlock() *block {
	return &block{
		name: "limits",
		attrs: []setting{
			{name: "eval_time", set: duration(func(c *Config) *duration64 { return &c.Limits.EvalTime }, second, hour)},
			{name: "eval_memory", set: size(func(c *Config) *int64 { return &c.Limits.EvalMemory }, 64<<20, 1<<40)},
			{name: "tftp_transfers", set: count(func(c *Config) *int { return &c.Limits.TFTPTransfers }, 1, 100_000)},
			{name: "tftp_per_client", set: count(func(c *Config) *int { return &c.Limits.TFTPPerClient }, 1, 1000)},
			{name: "http_connections", set: count(func(c *Config) *int { return &c.Limits.HTTPConnections }, 1, 1_000_000)},
			{name: "http_per_client", set: count(func(c *Config) *int { return &c.Limits.HTTPPerClient }, 1, 1_000_000)},
			{name: "http_drain", set: duration(func(c *Config) *duration64 { return &c.Limits.HTTPDrain }, second, hour)},
		},
		refused: map[string]string{
			"file_size": "Files named by path are at most 1 GiB, and text of a spec 8 MiB; neither can be changed.",
		},
	}
}

// hcl gives the block's shape to the library, with what is refused left out, so that it reports it.
func (b *block) hcl() *hcl.BodySchema {
	s := &hcl.BodySchema{}
	for _, a := range b.attrs {
		s.Attributes = append(s.Attributes, hcl.AttributeSchema{Name: a.name})
	}
	for _, n := range b.blocks {
		h := hcl.BlockHeaderSchema{Type: n.name}
		if n.label != "" {
			h.LabelNames = []string{n.label}
		}
		s.Blocks = append(s.Blocks, h)
	}
	return s
}

func (b *block) setting(name string) setting {
	for _, a := range b.attrs {
		if a.name == name {
			return a
		}
	}
	return setting{}
}

func (b *block) block(name string) *block {
	for _, n := range b.blocks {
		if n.name == name {
			return n
		}
	}
	return nil
}
