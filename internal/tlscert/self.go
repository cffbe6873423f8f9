package tlscert

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// lookEvery is how often a changed address is noticed.
const lookEvery = 2 * time.Minute

// selfSource issues the server's certificate under the local CA, anew before it expires
// and when the machine gets another address.
type selfSource struct {
	d    Deps
	ca   *ca
	leaf atomic.Pointer[tls.Certificate]
	// What leaf was made for; only run, and newSelf before it, touch these.
	names []string
	addrs []netip.Addr
}

func newSelf(d Deps) (*selfSource, error) {
	names, _, err := d.Hosts()
	if err != nil {
		return nil, err
	}
	authority, err := openCA(d.Dir, dnsNames(append(names, splitList(d.Config.Hosts)...)), d.Now())
	if err != nil {
		return nil, err
	}
	s := &selfSource{d: d, ca: authority}
	for _, h := range dnsNames(splitList(d.Config.Hosts)) {
		if !authority.covers(h) {
			return nil, fmt.Errorf("%w: %s; remove %s to make a new CA, which every device must then trust anew", ErrHost, h, caFile)
		}
	}
	if err := s.renew(); err != nil {
		return nil, err
	}
	d.Log.Info("local CA", "sha256", fingerprint(authority.cert), "until", authority.cert.NotAfter)
	return s, nil
}

func (s *selfSource) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.leaf.Load(), nil }

func (s *selfSource) run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := s.renew(); err != nil {
				s.d.Log.ErrorContext(ctx, "certificate could not be renewed", "err", err)
			}
		}
	}
}

// renew issues a certificate where the present one is old or for other addresses.
func (s *selfSource) renew() error {
	hosts, found, err := s.d.Hosts()
	if err != nil {
		return err
	}
	names := []string{"localhost"}
	for _, h := range hosts {
		names = append(names, h, h+".local")
	}
	addrs := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}
	for _, h := range splitList(s.d.Config.Hosts) {
		if a, err := netip.ParseAddr(h); err == nil {
			found = append(found, a)
		}
	}
	names = slices.DeleteFunc(dnsNames(append(names, splitList(s.d.Config.Hosts)...)), func(n string) bool { return !s.ca.covers(n) })
	for _, a := range found {
		if private(a) && !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	now := s.d.Now()
	if leaf := s.leaf.Load(); leaf != nil && now.Add(leafRenew).Before(leaf.Leaf.NotAfter) && slices.Equal(names, s.names) && slices.Equal(addrs, s.addrs) {
		return nil
	}
	leaf, err := s.ca.issue(names, addrs, now)
	if err != nil {
		return fmt.Errorf("issue certificate: %w", err)
	}
	s.names, s.addrs = names, addrs
	s.leaf.Store(leaf)
	s.d.Log.Info("certificate issued", "names", names, "addresses", addrs, "until", leaf.Leaf.NotAfter)
	return nil
}

// dnsNames are those that are names a certificate can hold, each once.
func dnsNames(all []string) []string {
	var out []string
	for _, n := range all {
		n = strings.ToLower(strings.TrimSuffix(n, "."))
		_, err := netip.ParseAddr(n)
		ok := err != nil && n != "" && len(n) <= 253 && strings.Trim(n, "abcdefghijklmnopqrstuvwxyz0123456789.-") == "" && !strings.Contains(n, "..") && n[0] != '.'
		if ok && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func splitList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
