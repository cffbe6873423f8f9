//go:build system && fault

package system

import (
	"bufio"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segue-music/segue/test/proc"
)

// TestFault_AbuseOverload offers ten times what the server can do: the request is to open
// a streaming session, which costs it a signature, a key exchange and a commit. Capacity
// is what 32 clients get that ask again when they are answered; the load after that does
// not wait for answers: a request for which no connection is free, since all wait for one,
// is offered and not sent. Who offers the load has the same processors, so goodput is also
// told per second of processor time that the server got; where it got much less than
// before, the machine was judged and not the server, and the line says so.
func TestFault_AbuseOverload(t *testing.T) {
	const open = "1000000+1000000"
	d := single(t, "-http.rate.rpc-per-ip="+open, "-http.rate.rpc-per-user="+open, "-obs.log-level=warn")
	request := d.sessionRequest()
	span := scaled(5*time.Second, 30*time.Second)

	pid := d.process("gateway").addr.PID
	t0 := proc.CPU(pid)
	base := d.offer(span, 32, 0, request)
	t1 := proc.CPU(pid)
	capacity := base.goodput(span)
	if capacity < 10 || base.codes[http.StatusOK] < base.sent*99/100 {
		d.Fatalf("capacity: %d of %d answered: %v", base.good, base.sent, base.codes)
	}
	stop := make(chan struct{})
	var health healthCheck
	var wg sync.WaitGroup
	wg.Go(func() { health.run(d, stop) })
	over := d.offer(span, 3000, int(10*capacity), request)
	t2 := proc.CPU(pid)
	close(stop)
	wg.Wait()

	goodput, before, after := over.goodput(span), base.p99(), over.p99()
	perCPU := float64(over.good) / (t2 - t1).Seconds() / (float64(base.good) / (t1 - t0).Seconds())
	starved := t2-t1 < (t1-t0)*8/10
	d.Logf("capacity %.0f/s (%.1f s of CPU), p99 %s | offered %.0f/s (%.1f x), sent %.0f/s: goodput %.0f/s = %.0f %% (%.1f s of CPU: %.0f %% per second of it), p99 of the admitted %s (%.1f x), answers %v | health %d of %d, slowest %s | starved: %v",
		capacity, (t1 - t0).Seconds(), before.Round(time.Millisecond), float64(over.offered())/span.Seconds(), float64(over.offered())/span.Seconds()/capacity, float64(over.sent)/span.Seconds(),
		goodput, 100*goodput/capacity, (t2 - t1).Seconds(), 100*perCPU, after.Round(time.Millisecond), float64(after)/float64(before), over.codes,
		health.good, health.asked, health.slowest.Round(time.Millisecond), starved)
	if !starved && goodput < 0.8*capacity {
		d.Errorf("goodput %.0f/s is below 80 %% of %.0f/s", goodput, capacity)
	}
	// One that was refused before and asks again at once is held for a second, and then served.
	if !starved && after > 2*before+1500*time.Millisecond {
		d.Errorf("p99 of what is admitted went from %s to %s", before, after)
	}
	for code := range over.codes {
		if code != http.StatusOK && code != http.StatusServiceUnavailable && code != http.StatusTooManyRequests {
			d.Errorf("answers with status %d", code)
		}
	}
	if over.blunt > 0 {
		d.Errorf("%d refusals without Retry-After", over.blunt)
	}
	if !starved && float64(over.offered()) < 8*capacity*span.Seconds() {
		d.Errorf("only %.1f times the capacity was offered", float64(over.offered())/span.Seconds()/capacity)
	}
	if health.good < health.asked || health.asked == 0 {
		d.Errorf("health answered %d of %d", health.good, health.asked)
	}
}

// sessionRequest is the bytes of an OpenSession.
func (d *deployment) sessionRequest() []byte {
	d.Helper()
	p := d.admin()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		d.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{
		"deviceId": p.Device, "deviceName": "overload", "client": "test/system", "publicKey": base64.StdEncoding.EncodeToString(key.PublicKey().Bytes()),
	})
	if err != nil {
		d.Fatal(err)
	}
	u, err := url.Parse(d.URL)
	if err != nil {
		d.Fatal(err)
	}
	return fmt.Appendf(nil, "POST /segue.playback.v1.SessionService/OpenSession HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", u.Host, p.access, len(body), body)
}

// healthCheck asks for the health pages all the time.
type healthCheck struct {
	asked, good int
	slowest     time.Duration
}

func (h *healthCheck) run(d *deployment, stop <-chan struct{}) {
	c := clientFrom(goodAddress)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		began := time.Now()
		h.asked++
		res, err := c.Get(d.URL + []string{"/livez", "/readyz"}[i%2])
		if err != nil {
			d.Log(err)
			continue
		}
		_ = res.Body.Close()
		h.slowest = max(h.slowest, time.Since(began))
		if res.StatusCode == http.StatusOK {
			h.good++
		}
	}
}

// offered is what became of a load.
type offered struct {
	sent, good, unsent, blunt int
	codes                     map[int]int
	took                      []time.Duration // of the good ones
}

func (o *offered) offered() int { return o.sent + o.unsent }

func (o *offered) goodput(span time.Duration) float64 { return float64(o.good) / span.Seconds() }

func (o *offered) p99() time.Duration {
	slices.Sort(o.took)
	if len(o.took) == 0 {
		return 0
	}
	return o.took[len(o.took)*99/100]
}

// offer sends a request over so many connections of 20 addresses: rate a second whether
// or not the ones before were answered, or with rate 0 on each when it is free.
func (d *deployment) offer(span time.Duration, conns, rate int, request []byte) *offered {
	d.Helper()
	o := &offered{codes: map[int]int{}}
	var mu sync.Mutex
	var unsent atomic.Int64
	ctx, cancel := context.WithTimeout(d.Context(), span)
	defer cancel()
	work := make(chan time.Time, 1)
	if rate == 0 {
		close(work)
	}
	var wg sync.WaitGroup
	for n := range conns {
		wg.Go(func() {
			var c net.Conn
			var r *bufio.Reader
			for due := range forever(ctx, work) {
				if c == nil {
					var err error
					if c, err = d.dialFrom(ctx, n%20); err != nil {
						c = nil
						continue
					}
					r = bufio.NewReaderSize(c, 4096)
				}
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				code, hint, err := exchange(c, r, request)
				took := time.Since(due)
				if err != nil {
					code = 0
					_ = c.Close()
					c = nil
				}
				mu.Lock()
				o.sent++
				o.codes[code]++
				if code == http.StatusOK && ctx.Err() == nil {
					o.good++
					o.took = append(o.took, took)
				} else if code >= 400 && !hint {
					o.blunt++
				}
				mu.Unlock()
			}
			if c != nil {
				_ = c.Close()
			}
		})
	}
	if rate > 0 {
		paced(ctx, rate, func(int) {
			select {
			case work <- time.Now():
			default:
				unsent.Add(1)
			}
		})
		close(work)
	}
	wg.Wait()
	o.unsent = int(unsent.Load())
	return o
}

// forever yields when each request is due: as told, or at once where work is closed from
// the beginning.
func forever(ctx context.Context, work <-chan time.Time) func(yield func(time.Time) bool) {
	return func(yield func(time.Time) bool) {
		for ctx.Err() == nil {
			due, ok := <-work
			if !ok {
				due = time.Now()
			}
			if ctx.Err() != nil || !yield(due) {
				return
			}
		}
	}
}

// exchange sends one request and reads its answer; hint is a Retry-After.
func exchange(c net.Conn, r *bufio.Reader, request []byte) (code int, hint bool, err error) {
	if _, err := c.Write(request); err != nil {
		return 0, false, err
	}
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, false, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Header.Get("Retry-After") != "", err
}
