//go:build system && fault

package system

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/wire"
)

// load is what people do while something happens to the server, counted by what it is.
type load struct {
	d    *deployment
	ctx  context.Context //nolint:containedctx // ends the load
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	done   map[string]int
	failed map[string][]error
	// by is how often a play went over a transport.
	by map[string]int
}

func (d *deployment) load() *load {
	l := &load{d: d, done: map[string]int{}, failed: map[string][]error{}, by: map[string]int{}}
	l.ctx, l.stop = context.WithCancel(d.Context())
	d.Cleanup(l.end)
	return l
}

// every repeats something, with a pause after each.
func (l *load) every(what string, pause time.Duration, do func(ctx context.Context) error) {
	l.wg.Go(func() {
		for l.ctx.Err() == nil {
			err := do(l.ctx)
			if l.ctx.Err() != nil {
				return
			}
			l.mu.Lock()
			if l.done[what]++; err != nil {
				l.failed[what] = append(l.failed[what], err)
			}
			l.mu.Unlock()
			select {
			case <-time.After(pause):
			case <-l.ctx.Done():
			}
		}
	})
}

func (l *load) end() {
	l.stop()
	l.wg.Wait()
}

func (l *load) transport(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.by[name]++
}

// progress is how often each thing was done.
func (l *load) progress() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.done)
}

// report fails for every failure.
func (l *load) report() {
	l.d.Helper()
	for what, errs := range l.failed {
		l.d.Errorf("%s: %d of %d failed, the first with: %v", what, len(errs), l.done[what], errs[0])
	}
	for what, n := range l.done {
		if n == 0 {
			l.d.Errorf("%s was never done", what)
		}
	}
}

// listens plays a track again and again in real time, for ctx, and fails for sound that
// came too late.
func (l *listening) listens(ctx context.Context, track [16]byte, heard *time.Duration) error {
	var begun time.Time
	played := func() time.Duration {
		if begun.IsZero() {
			return 0
		}
		return time.Since(begun)
	}
	st, err := l.Play(ctx, client.Request{Track: track, Quality: wire.Kbps24, Played: played})
	if err != nil {
		return err
	}
	defer st.Close()
	begun = time.Now()
	for have := time.Duration(0); ; {
		rec, err := st.Next()
		if late := time.Since(begun) - have; have > 0 && late > 0 && err == nil {
			return fmt.Errorf("underrun of %s after %s", late, have)
		}
		if errors.Is(err, io.EOF) {
			*heard += have
			return nil
		}
		if err != nil {
			return err
		}
		have = time.Duration(rec.End) * time.Second / time.Duration(st.Head().Rate)
		// Be as far behind as a listener with two seconds in the buffer.
		select {
		case <-time.After(have - 2*time.Second - time.Since(begun)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// plays refreshes, opens a session, and plays the beginning of a track on it.
func (l *load) plays(p *person, track [16]byte, blocked bool) func(context.Context) error {
	resume := client.NewResumption()
	return func(ctx context.Context) error {
		if err := p.renew(); err != nil {
			return err
		}
		s, err := p.tryOpen(blocked, resume)
		if err != nil {
			return fmt.Errorf("open session: %w", err)
		}
		defer s.Close()
		st, err := s.Play(ctx, client.Request{Track: track, Quality: wire.Kbps24, Until: time.Second})
		if err != nil {
			return err
		}
		defer st.Close()
		for {
			_, err := st.Next()
			if errors.Is(err, io.EOF) {
				l.transport(st.Stats().Transport)
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
}

// usual starts the things that must go on while keys rotate or clocks jump.
func (l *load) usual(admin *person, track string) {
	d := l.d
	id := trackID(d, track)
	for i := range 2 {
		p := d.listener(admin, fmt.Sprintf("renews%d", i))
		l.every("refresh and call", 150*time.Millisecond, func(ctx context.Context) error {
			if err := p.renew(); err != nil {
				return err
			}
			_, err := p.Accounts.GetMe(ctx, &userv1.GetMeRequest{})
			return err
		})
	}
	newcomer := d.listener(admin, "newcomer")
	l.every("sign in", time.Second, func(context.Context) error {
		return (&person{d: d, Name: newcomer.Name, Device: newID()}).signIn(personPass)
	})
	plays := d.listener(admin, "plays")
	l.every("session and play", 200*time.Millisecond, l.plays(plays, id, false))
	l.every("session and play by the fallback", 300*time.Millisecond, l.plays(d.signIn(plays.Name, personPass), id, true))
	// A session that was there before plays on, its ticket renewed, its stream never cut.
	steady := d.listener(admin, "steady").open(false)
	heard := time.Duration(0)
	l.every("listen on one session", 0, func(ctx context.Context) error { return steady.listens(ctx, id, &heard) })
	admins := d.signIn("admin", adminPassword)
	l.every("look at the keys", 500*time.Millisecond, func(ctx context.Context) error {
		if err := admins.renew(); err != nil {
			return err
		}
		_, err := userv1connectKeys(admins).ListKeys(ctx, &userv1.ListKeysRequest{})
		return err
	})
}

// TestFault_KeyRotation rotates every key of the ring, one after the other, then all at
// once, twice, in both shapes, while people sign in, refresh, call, open sessions and
// listen by QUIC and by the fallback. Nothing fails and nobody is signed out.
func TestFault_KeyRotation(t *testing.T) {
	eachShape(t, func(d *deployment) {
		d.login()
		track := d.shared("Long one").ID
		l := d.load()
		l.usual(d.admin(), track)
		held := d.heldURL(track)
		var rotated []string
		for _, purpose := range []string{"master", "ticket", "tls-ticket", "quic-token", "signing", "rpc", "refresh", "objects"} {
			d.rotates(purpose)
			rotated = append(rotated, purpose)
			<-time.After(time.Second)
		}
		if _, diag, err := d.ctl("", "keys", "rotate", "objects"); err == nil || diag == "" {
			d.Errorf("a key was rotated that nobody knows yet: %q", diag)
		}
		d.inUse(2)
		d.rotates("--all")
		d.inUse(3)
		before := l.progress()
		d.until(40*time.Second, "a round of everything under the last keys", func() error {
			for what, n := range l.progress() {
				if what != "listen on one session" && n < before[what]+2 {
					return errorf("%s: %d after %d", what, n, before[what])
				}
			}
			return nil
		})
		if status := held(); status != http.StatusPartialContent {
			d.Errorf("the URL of an object from before: status %d", status)
		}
		// Music from before the master key changed still plays, and new music does.
		d.must("upload", d.noise("after.flac", 3, 77, tags("After the rotation", "Keys")...), "--wait")
		after := d.track("After the rotation").ID
		for _, id := range []string{track, after} {
			if _, _, _, err := d.admin().open(false).sound(id, wire.Kbps24); err != nil {
				d.Errorf("play %s: %v", id, err)
			}
		}
		l.end()
		l.report()
		told := len(d.events(d.admin(), "KeyRotated", ""))
		if told != 2*len(rotated) {
			d.Errorf("%d rotations are told in the audit, of %d", told, 2*len(rotated))
		}
		d.Logf("%d keys rotated twice: done %v, failed %v; plays by %v; %d events KeyRotated", len(rotated), l.done, counts(l.failed), l.by, told)
		quietLog(d)
	}, "-user.publish-ahead=10s", "-user.login-per-ip=100000", "-user.login-per-account=100000", "-http.rate.login-per-ip=10000+10000")
}

func counts(m map[string][]error) map[string]int {
	out := map[string]int{}
	for k, v := range m {
		out[k] = len(v)
	}
	return out
}

// rotates rotates by the operator's command.
func (d *deployment) rotates(what string) {
	d.Helper()
	d.must("keys", "rotate", what)
}

// inUse waits until the key of an id is in use for every purpose.
func (d *deployment) inUse(id int) {
	d.Helper()
	d.until(40*time.Second, fmt.Sprintf("key %d in use everywhere", id), func() error {
		var list []struct {
			Purpose string
			ID      int
			InUse   bool `json:"in_use"`
		}
		if err := json.Unmarshal([]byte(d.must("keys", "list", "--json")), &list); err != nil {
			return err
		}
		n := 0
		for _, k := range list {
			if k.InUse && k.ID != id {
				return errorf("%s: key %d is in use", k.Purpose, k.ID)
			}
			if k.InUse {
				n++
			}
		}
		if n != 8 {
			return errorf("%d purposes", n)
		}
		return nil
	})
	<-time.After(6 * time.Second) // until every process has looked at the files
}

// heldURL plays once and keeps the URL of the object; what it returns asks for a range.
func (d *deployment) heldURL(track string) func() int {
	d.Helper()
	p := d.signIn("admin", adminPassword)
	url := ""
	s := p.open(false)
	head := d.headOf(s, track)
	url = d.URL + strings.ReplaceAll(head.CDN, "{object}", hex.EncodeToString(head.ObjectID[:]))
	ask := func() int {
		req, err := http.NewRequestWithContext(d.Context(), http.MethodGet, url, nil)
		if err != nil {
			d.Fatal(err)
		}
		req.Header.Set("Range", "bytes=0-99")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			d.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	if status := ask(); status != http.StatusPartialContent {
		d.Fatalf("the URL of an object %q: status %d", head.CDN, status)
	}
	return ask
}

// TestFault_RefreshFamilies: two tabs refresh at the same moment, for many rounds, across
// restarts: both get good tokens and nobody is signed out. A token of the past ends its
// whole family, also after a restart, and is told in the audit.
func TestFault_RefreshFamilies(t *testing.T) {
	d := single(t, "-user.login-per-ip=1000", "-http.rate.login-per-ip=10000+10000")
	admin := d.admin()
	p := d.listener(admin, "two-tabs")
	thief := *p
	const rounds = 40
	same := 0
	for round := range rounds {
		tabs := []*person{{d: d, Name: p.Name, refresh: p.refresh}, {d: d, Name: p.Name, refresh: p.refresh}}
		var wg sync.WaitGroup
		errs := make([]error, len(tabs))
		for i, tab := range tabs {
			wg.Go(func() { errs[i] = tab.renew() })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			d.Fatalf("round %d: %v", round, err)
		}
		for _, tab := range tabs {
			if code := answerCode(d, tab.access); code != http.StatusOK {
				d.Errorf("round %d: a tab's access token is answered %d", round, code)
			}
		}
		if tabs[0].refresh == tabs[1].refresh {
			same++
		}
		p.refresh, p.access = tabs[round%2].refresh, tabs[round%2].access
		if round == rounds/2 {
			for _, proc := range d.procs {
				d.stop(proc)
				d.again(proc)
			}
			d.awaitAll()
		}
	}
	if same != rounds {
		d.Errorf("two tabs went different ways in %d of %d rounds", rounds-same, rounds)
	}
	// The thief has the first token. Using it ends everybody's.
	for _, proc := range d.procs {
		d.stop(proc)
		d.again(proc)
	}
	d.awaitAll()
	if err := thief.renew(); err == nil {
		d.Error("a token of the past is good")
	}
	if err := p.renew(); err == nil {
		d.Error("the family lives on after a token of the past was used")
	}
	if again := d.signIn("admin", adminPassword); len(d.events(again, "TokenFamilyRevoked", "user:"+p.ID)) != 1 {
		d.until(10*time.Second, "TokenFamilyRevoked", func() error {
			if n := len(d.events(again, "TokenFamilyRevoked", "")); n != 1 {
				return errorf("%d events", n)
			}
			return nil
		})
	}
	// Sign out everywhere: a changed password ends the other devices, each with an event.
	q := d.listener(d.signIn("admin", adminPassword), "everywhere")
	devices := []*person{d.signIn(q.Name, personPass), d.signIn(q.Name, personPass)}
	if _, err := q.Accounts.ChangePassword(d.Context(), &userv1.ChangePasswordRequest{Current: personPass, Replacement: "another one of theirs"}); err != nil {
		d.Fatal(err)
	}
	for _, device := range devices {
		if device.renew() == nil {
			d.Error("a device is signed in after the password was changed elsewhere")
		}
	}
	if err := q.renew(); err != nil {
		d.Errorf("the device that changed it is signed out: %v", err)
	}
	d.Logf("two tabs at once in %d rounds and one restart: 0 sign-outs, one successor in %d; a token of the past: refused, family ended, told once", rounds, same)
	quietLog(d)
}

// answerCode is the status of GetMe for an access token.
func answerCode(d *deployment, token string) int {
	d.Helper()
	req, err := http.NewRequestWithContext(d.Context(), http.MethodPost, d.URL+"/segue.user.v1.AccountService/GetMe", http.NoBody)
	if err != nil {
		d.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/proto")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}
