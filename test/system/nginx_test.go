//go:build system

package system

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/wire"
	"github.com/segue-music/segue/test/cdn"
)

// sliceSize is that of deploy/nginx.conf.
const sliceSize = 1 << 20

// front is Debian's nginx with deploy/nginx.conf before the public door of a deployment,
// and between the two what counts requests and may be away.
type front struct {
	*deployment
	origin string // host:port of what counts
	url    string // of nginx
	log    string
	http   *http.Client
	object string // of a track that has several slices
	body   []byte
	good   string // a token for it

	mu     sync.Mutex
	asked  map[string]int // by path and range
	isAway bool
}

// TestNginx: the CDN edge of deploy/nginx.conf on the real nginx.
func TestNginx(t *testing.T) {
	f := newFront(t)
	for _, s := range []struct {
		name string
		run  func(*front)
	}{
		{"ranges", (*front).ranges}, {"one_request_per_slice", (*front).coalesced}, {"leave", (*front).leave}, {"runs_out", (*front).runsOut},
		{"away", (*front).away}, {"nothing_else", (*front).nothingElse},
	} {
		f.Run(s.name, func(t *testing.T) {
			own := *f.deployment
			own.T = t
			all := f.deployment
			f.deployment = &own
			defer func() { f.deployment = all }()
			f.startNginx()
			s.run(f)
		})
	}
}

func newFront(t *testing.T) *front {
	d := single(t, "-quic.edge-id=edge-1", "-quic.cdn-url=https://cdn.example.org", "-http.trusted-proxies=127.0.0.1")
	d.login()
	f := &front{deployment: d, asked: map[string]int{}}
	d.must("upload", d.noise("Long.flac", 75, 7, tags("Long", "Slices")...), "--wait")
	l := d.signIn("admin", adminPassword).open(false)
	st, err := l.Play(d.Context(), client.Request{Track: trackID(d, d.track("Long").ID), Quality: wire.Kbps320, HeadOnly: true})
	if err != nil {
		d.Fatal(err)
	}
	head := st.Head()
	f.object = hex.EncodeToString(head.ObjectID[:])
	at, token, _ := strings.Cut(strings.ReplaceAll(head.CDN, "{object}", f.object), "?t=")
	if f.good = token; at != "https://cdn.example.org/o/"+f.object {
		t.Fatalf("clients are sent to %s", at)
	}
	status, _, body := d.get("/o/" + f.object + "?t=" + token)
	if f.body = body; status != http.StatusOK || len(body) < 2*sliceSize {
		t.Fatalf("the object itself: %d, %d bytes", status, len(body))
	}

	to, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	hand := httputil.NewSingleHostReverseProxy(to)
	origin := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		isAway := f.isAway
		if !isAway {
			f.asked[r.URL.Path+" "+r.Header.Get("Range")]++
		}
		f.mu.Unlock()
		if isAway {
			panic(http.ErrAbortHandler)
		}
		hand.ServeHTTP(w, r)
	})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = origin.Serve(ln) }()
	t.Cleanup(func() { _ = origin.Close() })
	f.origin = ln.Addr().String()
	return f
}

// startNginx runs one with nothing in its cache.
func (f *front) startNginx() {
	f.Helper()
	f.counted()
	n, err := cdn.Start(f.Context(), cdn.Options{Root: "../..", Dir: f.TempDir(), Origin: f.origin, Change: map[string]string{"buffer=64k flush=5s": ""}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if said := n.Stop(); f.Failed() {
			f.Logf("nginx: %s", said)
		}
	})
	roots := x509.NewCertPool()
	roots.AddCert(n.Cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 64}
	f.http = &http.Client{Transport: transport}
	f.Cleanup(transport.CloseIdleConnections)
	f.url, f.log = n.URL, n.AccessLog()
	f.until(20*time.Second, "nginx", func() error {
		res, err := f.http.Get(f.url + "/")
		if err != nil {
			return err
		}
		return res.Body.Close()
	})
}

// token is one for an object until a time, as the edge itself makes them.
func (f *front) token(object string, until time.Time) string {
	f.Helper()
	ring, err := keyring.Open(f.file("data-secrets"), time.Now)
	if err != nil {
		f.Fatal(err)
	}
	keys, err := ring.Keys(keyring.Objects)
	if err != nil {
		f.Fatal(err)
	}
	b := binary.BigEndian.AppendUint32(nil, keys[0].ID)
	b = binary.BigEndian.AppendUint64(b, uint64(until.Unix()))
	key := keys[0].Derive("edge object token", []byte("edge-1"))
	h := hmac.New(sha256.New, key[:])
	h.Write(b)
	h.Write([]byte(object))
	return base64.RawURLEncoding.EncodeToString(append(b, h.Sum(nil)[:16]...))
}

// fetch reads a range of the object through nginx; "" is the whole.
func (f *front) fetch(token, ranges string) (*http.Response, []byte) {
	f.Helper()
	req, err := http.NewRequestWithContext(f.Context(), http.MethodGet, f.url+"/o/"+f.object+"?t="+token, nil)
	if err != nil {
		f.Fatal(err)
	}
	if ranges != "" {
		req.Header.Set("Range", "bytes="+ranges)
	}
	res, err := f.http.Do(req)
	if err != nil {
		f.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		f.Fatal(err)
	}
	return res, b
}

// counted returns how often the origin was asked for slices and for tokens since the last call.
func (f *front) counted() (slices, tokens, most int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for what, n := range f.asked {
		if strings.Contains(what, "/token ") {
			tokens += n
			continue
		}
		slices += n
		most = max(most, n)
	}
	clear(f.asked)
	return slices, tokens, most
}

// ranges come as they are in the object, first from the origin and then from the cache.
func (f *front) ranges() {
	end := len(f.body) - 1
	for _, pass := range []string{"MISS", "HIT"} {
		for _, r := range [][2]int{{0, 99}, {sliceSize - 50, sliceSize + 49}, {5, 2*sliceSize + 5}, {end - 9, end}, {0, end}} {
			res, b := f.fetch(f.good, fmt.Sprintf("%d-%d", r[0], r[1]))
			if res.StatusCode != http.StatusPartialContent || !bytes.Equal(b, f.body[r[0]:r[1]+1]) {
				f.Errorf("%d-%d: %s, %d bytes", r[0], r[1], res.Status, len(b))
			}
			if want := fmt.Sprintf("bytes %d-%d/%d", r[0], r[1], len(f.body)); res.Header.Get("Content-Range") != want {
				f.Errorf("%q, want %q", res.Header.Get("Content-Range"), want)
			}
			if pass == "HIT" || r[0] == 0 && r[1] == 99 {
				if got := res.Header.Get("X-Cache"); got != pass {
					f.Errorf("%d-%d: %s, want %s", r[0], r[1], got, pass)
				}
			}
			if res.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || res.Header.Get("Access-Control-Allow-Origin") != "*" {
				f.Errorf("headers %v", res.Header)
			}
		}
	}
	if res, b := f.fetch(f.good, ""); res.StatusCode != http.StatusOK || !bytes.Equal(b, f.body) {
		f.Errorf("the whole: %s, %d bytes", res.Status, len(b))
	}
	want := (len(f.body) + sliceSize - 1) / sliceSize
	if slices, tokens, _ := f.counted(); slices != want || tokens != 1 {
		f.Errorf("the origin was asked for %d slices of %d and for %d tokens", slices, want, tokens)
	}
}

// coalesced: many that want a slice at once make one request of it, with a token each.
func (f *front) coalesced() {
	const clients = 24
	var wg sync.WaitGroup
	errs := make(chan error, clients)
	for i := range clients {
		token := f.token(f.object, time.Now().Add(time.Minute+time.Duration(i)*time.Second))
		wg.Go(func() {
			req, err := http.NewRequestWithContext(f.Context(), http.MethodGet, f.url+"/o/"+f.object+"?t="+token, nil)
			if err == nil {
				var res *http.Response
				if res, err = f.http.Do(req); err == nil {
					var b []byte
					if b, err = io.ReadAll(res.Body); err == nil && !bytes.Equal(b, f.body) {
						err = fmt.Errorf("%s, %d bytes", res.Status, len(b))
					}
					err = errors.Join(err, res.Body.Close())
				}
			}
			if err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		f.Error(err)
	}
	want := (len(f.body) + sliceSize - 1) / sliceSize
	if slices, tokens, most := f.counted(); slices != want || most != 1 || tokens != clients {
		f.Errorf("%d clients made %d requests for %d slices, at most %d for one, and %d for tokens", clients, slices, want, most, tokens)
	}
}

// leave: what is kept is for those who have leave, and for nobody else.
func (f *front) leave() {
	if res, _ := f.fetch(f.good, "0-99"); res.StatusCode != http.StatusPartialContent {
		f.Fatalf("with a token: %s", res.Status)
	}
	f.counted()
	for name, token := range map[string]string{
		"none": "", "noise": "eHh4", "changed": f.good[:len(f.good)-2] + "AA", "of_another_object": f.token(strings.Repeat("0", 32), time.Now().Add(time.Hour)),
		"run_out": f.token(f.object, time.Now().Add(-time.Second)), "longer": f.good + "&t=" + f.good[:5],
	} {
		for range 2 { // also when it was refused before
			res, b := f.fetch(token, "0-99")
			if name == "longer" {
				// The first argument counts, here and at the origin.
				if res.StatusCode != http.StatusPartialContent {
					f.Errorf("%s: %s", name, res.Status)
				}
				continue
			}
			if res.StatusCode != http.StatusUnauthorized || bytes.Contains(f.body, b) || res.Header.Get("Cache-Control") != "no-store" {
				f.Errorf("%s: %s, %d bytes, %v", name, res.Status, len(b), res.Header)
			}
		}
	}
	if slices, _, _ := f.counted(); slices != 0 {
		f.Errorf("%d slices were asked for by those without leave", slices)
	}
}

// runsOut: a token that the cache knows to be good is good until it runs out.
func (f *front) runsOut() {
	until := time.Now().Add(4 * time.Second).Truncate(time.Second)
	token := f.token(f.object, until)
	for range 3 {
		if res, _ := f.fetch(token, "0-99"); res.StatusCode != http.StatusPartialContent {
			f.Fatalf("before: %s", res.Status)
		}
	}
	if _, tokens, _ := f.counted(); tokens != 1 {
		f.Errorf("the origin was asked %d times for one token", tokens)
	}
	f.until(10*time.Second, "the end of the token", func() error {
		if res, _ := f.fetch(token, "0-99"); res.StatusCode != http.StatusUnauthorized {
			return errors.New(res.Status)
		}
		return nil
	})
	if late := time.Since(until); late < 0 || late > 2500*time.Millisecond {
		f.Errorf("it ended %s after its time", late)
	}
}

// away: while the origin is away, who had leave hears on what is kept; what is not, and
// who has not been seen, is told so, and nothing of that is remembered.
func (f *front) away() {
	if res, _ := f.fetch(f.good, "0-99"); res.StatusCode != http.StatusPartialContent {
		f.Fatalf("before: %s", res.Status)
	}
	f.setAway(true)
	if res, b := f.fetch(f.good, fmt.Sprintf("0-%d", sliceSize-1)); res.StatusCode != http.StatusPartialContent || !bytes.Equal(b, f.body[:sliceSize]) {
		f.Errorf("a hot range: %s, %d bytes", res.Status, len(b))
	}
	for name, c := range map[string][2]string{
		"a cold range":    {f.good, fmt.Sprintf("%d-%d", sliceSize+1, sliceSize+9)},
		"an unseen token": {f.token(f.object, time.Now().Add(time.Hour)), "0-99"},
		"no token":        {"", "0-99"},
	} {
		res, b := f.fetch(c[0], c[1])
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || res.Header.Get("Cache-Control") != "no-store" || bytes.Contains(f.body, b) {
			f.Errorf("%s: %s, %d bytes, %v", name, res.Status, len(b), res.Header)
		}
	}
	f.setAway(false)
	if res, b := f.fetch(f.good, fmt.Sprintf("%d-%d", sliceSize+1, sliceSize+9)); res.StatusCode != http.StatusPartialContent || !bytes.Equal(b, f.body[sliceSize+1:sliceSize+10]) {
		f.Errorf("back: %s", res.Status)
	}
}

func (f *front) setAway(v bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isAway = v
}

// nothingElse of Segue is to be had here, and nothing can be changed.
func (f *front) nothingElse() {
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/", 404}, {"GET", "/login", 404}, {"GET", "/token", 404}, {"GET", "/o/" + f.object + "/token?t=" + f.good, 404},
		{"GET", "/o/" + strings.ToUpper(f.object) + "x?t=" + f.good, 404}, {"GET", "/o/..%2flogin", 404}, {"POST", "/segue.user.v1.AccountService/GetMe", 404},
		{"POST", "/o/" + f.object + "?t=" + f.good, 405}, {"DELETE", "/o/" + f.object + "?t=" + f.good, 405},
		{"OPTIONS", "/o/" + f.object, 204}, {"HEAD", "/o/" + f.object + "?t=" + f.good, 200}, {"HEAD", "/o/" + f.object, 401},
	} {
		ctx, cancel := context.WithTimeout(f.Context(), 20*time.Second)
		req, err := http.NewRequestWithContext(ctx, c.method, f.url+c.path, nil)
		if err != nil {
			f.Fatal(err)
		}
		res, err := f.http.Do(req)
		if err != nil {
			f.Fatal(err)
		}
		_ = res.Body.Close()
		cancel()
		if res.StatusCode != c.status {
			f.Errorf("%s %s: %s, want %d", c.method, c.path, res.Status, c.status)
		}
		if c.method == "OPTIONS" && (res.Header.Get("Access-Control-Allow-Origin") != "*" || res.Header.Get("Access-Control-Allow-Headers") != "Range") {
			f.Errorf("preflight: %v", res.Header)
		}
	}
	log, err := os.ReadFile(f.log)
	if err != nil {
		f.Fatal(err)
	}
	if len(log) == 0 || bytes.Contains(log, []byte(f.good)) {
		f.Errorf("the log of %d bytes has a token", len(log))
	}
}
