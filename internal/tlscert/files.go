package tlscert

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// fileEvery is how often changed files are noticed. Asking for contents works through
// every kind of link and mount, where file system events do not.
const fileEvery = 5 * time.Second

// filesSource is a certificate that somebody else keeps fresh.
type filesSource struct {
	d    Deps
	leaf atomic.Pointer[tls.Certificate]
	sum  [32]byte // of what was last read, good or bad; only run, and newFiles before it, touch it
}

func newFiles(d Deps) (*filesSource, error) {
	s := &filesSource{d: d}
	if _, err := s.load(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *filesSource) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.leaf.Load(), nil }

func (s *filesSource) run(ctx context.Context) error {
	tick := time.NewTicker(fileEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			changed, err := s.load()
			switch {
			case err != nil && changed:
				s.d.Log.ErrorContext(ctx, "changed certificate is not taken; the one before stays", "err", err)
			case changed:
				s.d.Log.InfoContext(ctx, "certificate read again", "until", s.leaf.Load().Leaf.NotAfter)
			}
		}
	}
}

// load reads the files; changed is false where they are what they were.
func (s *filesSource) load() (changed bool, err error) {
	cert, err := os.ReadFile(s.d.Config.CertFile)
	if err != nil {
		return s.failed("no certificate: " + err.Error()), fmt.Errorf("read certificate: %w", err)
	}
	key, err := os.ReadFile(s.d.Config.KeyFile)
	if err != nil {
		return s.failed("no key: " + err.Error()), fmt.Errorf("read certificate's key: %w", err)
	}
	if !s.differs(append(append([]byte{}, cert...), key...)) {
		return false, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return true, fmt.Errorf("read certificate: %w", err)
	}
	if now := s.d.Now(); now.After(pair.Leaf.NotAfter) {
		s.d.Log.Warn("certificate has expired", "file", s.d.Config.CertFile, "at", pair.Leaf.NotAfter)
	}
	s.leaf.Store(&pair)
	return true, nil
}

// failed notes a failure, so that the same one is told once.
func (s *filesSource) failed(what string) bool { return s.differs([]byte(what)) }

func (s *filesSource) differs(b []byte) bool {
	sum := sha256.Sum256(b)
	if sum == s.sum {
		return false
	}
	s.sum = sum
	return true
}
