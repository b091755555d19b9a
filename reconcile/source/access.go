package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"
)

// access is how to reach a remote. Keys and tokens are read anew for each use, so that they can be replaced.
type access struct {
	auth  transport.AuthMethod
	ca    []byte
	proxy transport.ProxyOptions
}

func (r *remote) access(ctx context.Context) (access, error) {
	ep, err := transport.NewEndpoint(r.o.Location)
	if err != nil {
		return access{}, errors.New("not a repository's URL")
	}
	switch ep.Protocol {
	case "ssh":
		auth, err := r.o.sshAuth(ctx, ep)
		return access{auth: auth, proxy: boundedSSH()}, err
	case "https", "http":
		return r.o.httpAuth(ep)
	default:
		return access{}, fmt.Errorf("%s: not a supported protocol; use ssh or https", ep.Protocol)
	}
}

func (o Options) httpAuth(ep *transport.Endpoint) (access, error) {
	var a access
	var err error
	if o.CAFile != "" {
		if a.ca, err = os.ReadFile(o.CAFile); err != nil {
			return a, fmt.Errorf("reading the authorities: %w", err)
		}
	}
	if o.TokenFile == "" {
		return a, nil // user and password of the URL, if any, are used by go-git
	}
	if ep.Protocol == "http" {
		return a, errors.New("a token is only sent over https")
	}
	token, err := os.ReadFile(o.TokenFile)
	if err != nil {
		return a, fmt.Errorf("reading the token: %w", err)
	}
	user := o.User
	if user == "" {
		user = "git"
	}
	a.auth = &githttp.BasicAuth{Username: user, Password: strings.TrimSpace(string(token))}
	return a, nil
}

// sshAuth checks the host against known_hosts. A client that offers every host key algorithm may be shown a key of a type that
// known_hosts does not hold for this host, and takes that for an attack (go-git#1551); so only the types that it holds for
// the dialled host are offered.
func (o Options) sshAuth(ctx context.Context, ep *transport.Endpoint) (transport.AuthMethod, error) {
	db, err := gitssh.NewKnownHostsDb(o.knownHosts()...)
	if err != nil {
		return nil, fmt.Errorf("reading known_hosts: %w", err)
	}
	port := ep.Port
	if port <= 0 {
		port = gitssh.DefaultPort
	}
	host := net.JoinHostPort(ep.Host, strconv.Itoa(port))
	algorithms := db.HostKeyAlgorithms(host)
	if len(algorithms) == 0 {
		return nil, fmt.Errorf("%s is not in known_hosts (%s)", host, strings.Join(o.knownHosts(), ", "))
	}
	check := gitssh.HostKeyCallbackHelper{HostKeyCallback: db.HostKeyCallback(), HostKeyAlgorithms: algorithms}
	user := ep.User
	if user == "" {
		user = gitssh.DefaultUsername
	}
	var auth sshMethod
	if o.SSHKey != "" {
		keys, err := gitssh.NewPublicKeysFromFile(user, o.SSHKey, "")
		if err != nil {
			return nil, fmt.Errorf("reading the ssh key %s: %w", o.SSHKey, err)
		}
		keys.HostKeyCallbackHelper = check
		auth = keys
	} else {
		agent, err := gitssh.NewSSHAgentAuth(user)
		if err != nil {
			return nil, fmt.Errorf("asking the ssh agent: %w", err)
		}
		agent.HostKeyCallbackHelper = check
		auth = agent
	}
	limit := handshakeTime
	if deadline, ok := ctx.Deadline(); ok {
		limit = max(min(limit, time.Until(deadline)), time.Nanosecond) // zero would be none
	}
	return timeLimited{auth, limit}, nil
}

// sshMethod is what go-git's ssh transport wants of an authentication method.
type sshMethod interface {
	transport.AuthMethod
	ClientConfig() (*ssh.ClientConfig, error)
}

// timeLimited bounds the connecting to an ssh host.
type timeLimited struct {
	sshMethod
	limit time.Duration
}

func (t timeLimited) ClientConfig() (*ssh.ClientConfig, error) {
	c, err := t.sshMethod.ClientConfig()
	if err == nil {
		c.Timeout = t.limit
	}
	return c, err
}

// knownHosts lists the files that hold the keys of hosts. System-wide ones are read too, as ssh does.
func (o Options) knownHosts() []string {
	if o.KnownHosts != "" {
		return []string{o.KnownHosts}
	}
	files := []string{"/etc/ssh/ssh_known_hosts"}
	if home, err := os.UserHomeDir(); err == nil {
		files = append([]string{filepath.Join(home, ".ssh", "known_hosts")}, files...)
	}
	return files
}
