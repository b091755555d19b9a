package httpd

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"hostler/render/fact"
)

// Certificate is what the TLS listener shows: a chain, the server's own certificate first, and its key. It follows the two files.
// The last good pair stays in force while the files hold none.
type Certificate struct {
	chain, key string // files
	log        *slog.Logger
	pair       atomic.Pointer[pair]
	stamp      string // of the files that were looked at last
}

// pair is one content of the two files.
type pair struct {
	tls.Certificate
	trust fact.Digest
}

// LoadCertificate reads the files, and refuses a chain that the loaders of this program cannot check.
func LoadCertificate(chain, key string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{chain: chain, key: key, log: log}
	c.stamp = stamp(chain) + stamp(key)
	p, err := loadPair(chain, key)
	if err != nil {
		return nil, err
	}
	c.pair.Store(p)
	return c, nil
}

// Trust is the SHA-256 of the last certificate of the chain: what a loader has to know in order to trust the server. With the root at
// the end it stays the same when the certificates below are renewed.
func (c *Certificate) Trust() fact.Digest { return c.pair.Load().trust }

// Leaf is the server's own certificate.
func (c *Certificate) Leaf() *x509.Certificate { return c.pair.Load().Leaf }

func loadPair(chain, key string) (*pair, error) {
	read, err := tls.LoadX509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("reading the TLS certificate: %s, %s: %w", chain, key, err)
	}
	var above *x509.Certificate
	for i := len(read.Certificate) - 1; i >= 0; i-- {
		c, err := x509.ParseCertificate(read.Certificate[i])
		if err != nil {
			return nil, fmt.Errorf("reading the TLS certificate: %s: certificate %d: %w", chain, i+1, err)
		}
		if _, ok := c.PublicKey.(*rsa.PublicKey); !ok {
			return nil, fmt.Errorf("reading the TLS certificate: %s: certificate %d has a key of type %s: iPXE checks RSA only", chain, i+1, c.PublicKeyAlgorithm)
		}
		if above != nil && c.CheckSignatureFrom(above) != nil {
			return nil, fmt.Errorf("reading the TLS certificate: %s: certificate %d is not signed by certificate %d: "+
				"write the server's own first, and each one's issuer after it", chain, i+1, i+2)
		}
		above = c
	}
	last := sha256.Sum256(read.Certificate[len(read.Certificate)-1])
	return &pair{read, fact.Digest(hex.EncodeToString(last[:]))}, nil
}

// lookAgain is how often the files are looked at. Two calls to the system are cheaper than any watch, and see through the links that
// Kubernetes and certbot swap.
const lookAgain = 10 * time.Second

// follow takes over new files until ctx ends.
func (c *Certificate) follow(ctx context.Context) {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.look()
		}
	}
}

func (c *Certificate) look() {
	now := stamp(c.chain) + stamp(c.key)
	if now == c.stamp {
		return
	}
	c.stamp = now // before reading: what changes while they are read is seen the next time
	p, err := loadPair(c.chain, c.key)
	if err != nil { // one of the two may not be written yet: its change will be seen
		c.log.Warn("the TLS certificate changed, and the last good one stays", "err", err)
		return
	}
	if trusted := c.Trust(); trusted != p.trust {
		c.log.Warn("the TLS certificate has another root: loaders that machines fetched before do not trust it", "old", trusted, "new", p.trust)
	}
	c.pair.Store(p)
	c.log.Info("the TLS certificate changed", "subject", p.Leaf.Subject, "expires", p.Leaf.NotAfter)
}

// stamp changes whenever a file is written or replaced.
func stamp(name string) string {
	st, err := os.Stat(name)
	if err != nil {
		return "-;"
	}
	inode := uint64(0)
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		inode = sys.Ino
	}
	return fmt.Sprint(inode, " ", st.Size(), " ", st.ModTime().UnixNano(), ";")
}

// config is for the TLS listener alone. Without ECDHE, which iPXE has since the end of 2023, there is the exchange by RSA, which Go
// leaves out on its own: an older iPXE in a network card's ROM has nothing else that Go speaks. A client that has better gets better.
func (c *Certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &c.pair.Load().Certificate, nil
		},
		CipherSuites: []uint16{
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA,
		},
	}
}
