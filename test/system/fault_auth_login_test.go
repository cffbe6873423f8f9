//go:build system && fault

package system

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/test/proc"
)

// from is a client at an address of this machine.
func from(ip string) *http.Client {
	jar, _ := cookiejar.New(nil) // without options it never fails
	return &http.Client{Jar: jar, Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext:     (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: 10 * time.Second}).DialContext,
		MaxIdleConns:    4,
		IdleConnTimeout: time.Minute,
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// form opens a login page and returns the id of its request.
func form(ctx context.Context, c *http.Client, base string) (string, *http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/oauth/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {oauthClient}, "redirect_uri": {oauthRedirect}, "state": {"s"},
		"scope": {"openid offline_access"}, "code_challenge_method": {"S256"}, "code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"},
	}.Encode(), nil)
	if err != nil {
		return "", nil, err
	}
	res, err := c.Do(req)
	if err != nil {
		return "", nil, err
	}
	_ = res.Body.Close()
	to, err := res.Location()
	if err != nil {
		return "", res, fmt.Errorf("no login page: %s", res.Status)
	}
	return to.Query().Get("id"), res, nil
}

// attempt sends a name and a password with the id of a login page.
func attempt(ctx context.Context, c *http.Client, base, id, name, password string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/login",
		strings.NewReader(url.Values{"id": {id}, "username": {name}, "password": {password}}.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := c.Do(req)
	if err == nil {
		_ = res.Body.Close()
	}
	return res, err
}

// metric is the sum of a metric's lines of a process that contain all words.
func (d *deployment) metric(p *process, name string, words ...string) float64 {
	d.Helper()
	res, err := http.Get(p.addr.Ops + "/metrics")
	if err != nil {
		d.Fatal(err)
	}
	defer res.Body.Close()
	sum := 0.0
	for sc := bufio.NewScanner(res.Body); sc.Scan(); {
		line := sc.Text()
		rest, ok := strings.CutPrefix(line, name)
		if !ok || (rest[0] != ' ' && rest[0] != '{') || slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			continue
		}
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			d.Fatal(err)
		}
		sum += v
	}
	return sum
}

// tally counts answers by their status.
type tally struct {
	mu sync.Mutex
	n  map[int]int
	// bare are refusals for being too many that do not say when to come back.
	bare int
}

func (c *tally) add(res *http.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[int]int{}
	}
	c.n[res.StatusCode]++
	if (res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable) && res.Header.Get("Retry-After") == "" {
		c.bare++
	}
}

// TestFault_LoginFlood: 50 attackers guess passwords from one address, and then 200 from
// an address each, while people elsewhere sign in and others use the server.
func TestFault_LoginFlood(t *testing.T) {
	d := single(t)
	admin := d.admin()
	for i := range 8 {
		d.listener(admin, fmt.Sprintf("good%d", i))
	}
	p := d.process("user")
	for _, c := range []struct {
		name      string
		attackers int
		address   func(i int) string
	}{
		{"one_address", 50, func(int) string { return "127.0.7.7" }},
		{"address_each", 200, func(i int) string { return fmt.Sprintf("127.0.8.%d", i+1) }},
	} {
		d.scenario(c.name, func(d *deployment) { d.loginFlood(p, admin, c.attackers, c.address) })
	}
	quietLog(d)
}

func (d *deployment) loginFlood(p *process, admin *person, attackers int, address func(int) string) {
	const lasts = 8 * time.Second
	before, hashes := proc.Look(p.cmd.Process.Pid).RSS>>10, d.metric(p, "segue_user_password_hashes_total")
	ctx, stop := context.WithCancel(d.Context())
	defer stop()
	var attack tally
	var wg sync.WaitGroup
	for i := range attackers {
		wg.Go(func() {
			c := from(address(i))
			defer c.CloseIdleConnections()
			id := ""
			for n := 0; ctx.Err() == nil; n++ {
				if id == "" { // a page is good for ten minutes, and for any number of guesses
					next, res, err := form(ctx, c, d.URL)
					if res != nil && err != nil {
						attack.add(res)
					}
					id = next
					continue
				}
				if res, err := attempt(ctx, c, d.URL, id, fmt.Sprintf("victim%d-%d", i, n), "guess"); err == nil {
					attack.add(res)
				}
			}
		})
	}
	// Others go about their business.
	var asked, failed atomic.Int64
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, err := admin.Accounts.GetMe(d.Context(), &userv1.GetMeRequest{})
				if asked.Add(1); err != nil {
					failed.Add(1)
				}
				select {
				case <-time.After(25 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	var took []time.Duration
	good, bad, waited := 0, 0, 0
	began := time.Now()
	for i := 0; time.Since(began) < lasts; i++ {
		c := from(fmt.Sprintf("127.0.9.%d", i%8+1))
		start := time.Now()
		id, _, err := form(d.Context(), c, d.URL)
		if err != nil {
			d.Errorf("a person's login page: %v", err)
			bad++
			continue
		}
		// A person who is told to come back does so, and gives up after the third time.
		res, err := attempt(d.Context(), c, d.URL, id, fmt.Sprintf("good%d", i%8), personPass)
		for again := 0; err == nil && res.StatusCode == http.StatusTooManyRequests && again < 3; again++ {
			waited++
			wait, _ := strconv.Atoi(res.Header.Get("Retry-After"))
			<-time.After(time.Duration(wait) * time.Second)
			res, err = attempt(d.Context(), c, d.URL, id, fmt.Sprintf("good%d", i%8), personPass)
		}
		c.CloseIdleConnections()
		if err != nil || res.StatusCode != http.StatusSeeOther {
			bad++
			d.Errorf("a person's sign-in: %v", err)
			continue
		}
		good++
		took = append(took, time.Since(start))
	}
	peak := proc.Look(p.cmd.Process.Pid).RSS >> 10
	stop()
	wg.Wait()
	hashed := d.metric(p, "segue_user_password_hashes_total") - hashes
	slices.Sort(took)
	if good == 0 {
		d.Fatal("nobody signed in")
	}
	d.Logf("%d attackers for %s: answers %v, %.0f hashes; %d sign-ins of people, %d failed, %d told to wait, p50 %s, worst %s; other requests %d, %d failed; resident %d KiB before, %d KiB during",
		attackers, lasts, attack.n, hashed, good, bad, waited, took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond),
		asked.Load(), failed.Load(), before, peak)
	if f, a := failed.Load(), asked.Load(); a < 100 || float64(f) > 0.001*float64(a) {
		d.Errorf("of %d other requests %d failed", a, f)
	}
	if attack.bare > 0 {
		d.Errorf("%d refusals do not say when to come back", attack.bare)
	}
	if attack.n[http.StatusSeeOther] > 0 || attack.n[http.StatusTooManyRequests]+attack.n[http.StatusServiceUnavailable] == 0 {
		d.Errorf("attackers were answered %v", attack.n)
	}
	if peak > before+300<<10 {
		d.Errorf("the memory grew from %d to %d KiB", before, peak)
	}
}
