//go:build system && fault

package system

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/wire"
	"github.com/segue-music/segue/test/proc"
)

// goodAddress is where good clients are; attackers have other loopback addresses.
const goodAddress = "127.0.0.9"

// good are clients that do what clients do, in a steady mix: of each 20, 10 pages, 8
// calls and 2 starts of a stream, each on a connection of its own.
type good struct {
	d       *deployment
	token   string
	page    *http.Client
	call    *http.Client
	session func() (*client.Session, error)
	track   id.ID

	sent, served atomic.Int64
	mu           sync.Mutex
	took         map[string][]time.Duration
	failures     []string
}

// goodPatience is how long a good client waits.
const goodPatience = 10 * time.Second

func clientFrom(ip string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: goodPatience}
	return &http.Client{Timeout: goodPatience, Transport: &http.Transport{
		DialContext: dialer.DialContext, MaxIdleConnsPerHost: 32, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true,
	}}
}

// goodClients signs somebody in who plays a track.
func (d *deployment) goodClients() *good {
	d.Helper()
	p := d.admin()
	g := &good{d: d, token: p.access, page: clientFrom(goodAddress), call: clientFrom(goodAddress), took: map[string][]time.Duration{}}
	track := d.shared("Under attack")
	p.activate(track.ID)
	g.track = trackID(d, track.ID)
	// A session may have 16 plays at a time; on a slow machine more are on their way.
	sessions := make([]func() (*client.Session, error), 4)
	for i := range sessions {
		sessions[i] = p.streaming()
	}
	var turn atomic.Int64
	g.session = func() (*client.Session, error) { return sessions[turn.Add(1)%int64(len(sessions))]() }
	return g
}

// streaming opens a session and returns what connects anew within it.
func (p *person) streaming() func() (*client.Session, error) {
	d := p.d
	d.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		d.Fatal(err)
	}
	res, err := p.Sessions.OpenSession(d.Context(), &playbackv1.OpenSessionRequest{
		DeviceId: p.Device, DeviceName: "good", Client: "test/system", PublicKey: key.PublicKey().Bytes(),
	})
	if err != nil {
		d.Fatal(err)
	}
	sessionID, err := id.Parse(res.GetSessionId())
	if err != nil {
		d.Fatal(err)
	}
	sessionKey, err := seal.OpenSessionKey(key, sessionID, res.GetSealedKey())
	if err != nil {
		d.Fatal(err)
	}
	at := client.Endpoint{QUIC: d.process("edge").addr.QUIC, CertificateSHA256: res.GetEndpoints()[0].GetCertificateSha256()}
	return func() (*client.Session, error) {
		return client.Open(client.Config{
			SessionID: sessionID, SessionKey: sessionKey, Ticket: res.GetTicket(),
			TicketExpires: time.UnixMilli(res.GetTicketExpiresUnixMs()), Endpoints: []client.Endpoint{at},
		})
	}
}

// fetch is one request that has to be answered with 200 in full.
func (g *good) fetch(ctx context.Context, c *http.Client, method, path, body string) error {
	req, err := http.NewRequestWithContext(ctx, method, g.d.URL+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+g.token)
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return err
}

// start connects anew and plays up to the first record.
func (g *good) start(ctx context.Context) error {
	s, err := g.session()
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(ctx, goodPatience)
	defer cancel()
	st, err := s.Play(ctx, client.Request{Track: g.track, Quality: wire.Kbps96})
	if err != nil {
		return err
	}
	defer st.Close()
	_, err = st.Next()
	return err
}

// do counts one request.
func (g *good) do(what string, f func() error) {
	g.sent.Add(1)
	began := time.Now()
	err := f()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.took[what] = append(g.took[what], time.Since(began))
	if err != nil {
		g.failures = append(g.failures, fmt.Sprintf("%s: %v", what, err))
		return
	}
	g.served.Add(1)
}

// run sends rate requests a second, whether or not the ones before were answered, and
// returns when the last one was.
func (g *good) run(ctx context.Context, rate int) {
	var wg sync.WaitGroup
	defer wg.Wait()
	paced(ctx, rate, func(i int) {
		wg.Go(func() {
			// The span is over when the last has been sent; it still has its answer to get.
			ctx := context.WithoutCancel(ctx)
			turn := i % 20
			switch {
			case g.session != nil && turn%10 == 0:
				g.do("stream", func() error { return g.start(ctx) })
			case g.token != "" && turn%2 == 1 && turn%10 != 9:
				g.do("call", func() error {
					return g.fetch(ctx, g.call, http.MethodPost, "/segue.user.v1.AccountService/GetMe", "{}")
				})
			default:
				g.do("page", func() error { return g.fetch(ctx, g.page, http.MethodGet, "/", "") })
			}
		})
	})
}

// slowest is the longest that one of a hundred has taken.
func (g *good) slowest(what string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := slices.Sorted(slices.Values(g.took[what]))
	if len(all) == 0 {
		return 0
	}
	return all[len(all)*99/100]
}

// paced calls f so many times a second until ctx ends; calls that are late are made up for.
func paced(ctx context.Context, perSecond int, f func(i int)) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for i := 0; ; {
		for due := int(time.Since(began).Seconds() * float64(perSecond)); i < due; i++ {
			if ctx.Err() != nil {
				return
			}
			f(i)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// peak follows the memory of a process until ctx ends: all that is resident, and what is
// its own.
func (d *deployment) peak(ctx context.Context, pid int) (most proc.Usage) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		now := proc.Look(pid)
		if now.RSS == 0 {
			d.Errorf("the process is gone")
			return most
		}
		most.RSS, most.Anon = max(most.RSS, now.RSS), max(most.Anon, now.Anon)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return most
		}
	}
}

// attack is what somebody does to a server until ctx ends; it says how hard it did so.
type attack func(ctx context.Context, d *deployment) (intensity string)

// under runs good clients while an attack goes on. They keep at least 99.9 % of their
// requests, the process holds at most mib more than before, and afterwards it serves.
func (d *deployment) under(g *good, mib int64, run attack) {
	d.Helper()
	p := d.process("gateway")
	before := proc.Look(p.addr.PID)
	ctx, cancel := context.WithTimeout(d.Context(), scaled(6*time.Second, time.Minute))
	defer cancel()
	var peak proc.Usage
	var intensity string
	var wg sync.WaitGroup
	wg.Go(func() { peak = d.peak(ctx, p.addr.PID) })
	wg.Go(func() { intensity = run(ctx, d) })
	g.run(ctx, 100)
	cancel()
	wg.Wait()
	sent, served := g.sent.Load(), g.served.Load()
	grown := (int64(peak.Anon) - int64(before.Anon)) >> 20
	d.Logf("%s | good %d of %d (%.2f %%), p99 page %s call %s stream %s | RSS %d MiB, anonymous %d MiB, %+d MiB (bound %d)", intensity,
		served, sent, 100*float64(served)/float64(sent), g.slowest("page").Round(time.Millisecond), g.slowest("call").Round(time.Millisecond),
		g.slowest("stream").Round(time.Millisecond), peak.RSS>>20, peak.Anon>>20, grown, mib)
	if sent < 300 || float64(served) < 0.999*float64(sent) {
		d.Errorf("good clients have %d of %d requests: %.600q", served, sent, strings.Join(g.failures[:min(5, len(g.failures))], "; "))
	}
	if grown > mib {
		d.Errorf("the process has grown by %d MiB, bound %d", grown, mib)
	}
	if err := g.fetch(d.Context(), g.page, http.MethodGet, "/readyz", ""); err != nil {
		d.Errorf("afterwards it is not ready: %v", err)
	}
}

// attacked runs attacks one after the other on one deployment.
func attacked(t *testing.T, attacks []namedAttack, more ...string) {
	d := single(t, more...)
	d.login()
	g := d.goodClients()
	for _, a := range attacks {
		d.scenario(a.name, func(d *deployment) {
			own := &good{d: d, token: g.token, page: g.page, call: g.call, session: g.session, track: g.track, took: map[string][]time.Duration{}}
			d.under(own, a.mib, a.run)
		})
	}
}

type namedAttack struct {
	name string
	mib  int64
	run  attack
}

// attacker is the n-th loopback address that is an attacker's.
func attacker(n int) string { return fmt.Sprintf("127.0.%d.%d", 1+n/200, 1+n%200) }

// dialFrom connects from an attacker's address to the gateway.
func (d *deployment) dialFrom(ctx context.Context, n int) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(attacker(n))}, Timeout: 5 * time.Second}
	_, at, _ := strings.Cut(d.URL, "://")
	return dialer.DialContext(ctx, "tcp", at)
}
