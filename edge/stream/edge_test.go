package stream_test

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/webtransport-go"
	"google.golang.org/protobuf/proto"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/conformance"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/wire"
)

func openSession(t *testing.T, cfg client.Config) *client.Session {
	t.Helper()
	s, err := client.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// listen plays to the end and returns the Ogg bytes.
func listen(t *testing.T, s *client.Session, req client.Request) ([]byte, *client.Stream) {
	t.Helper()
	st, err := s.Play(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	out := bytes.Clone(st.Setup())
	for {
		r, err := st.Next()
		if errors.Is(err, io.EOF) {
			return out, st
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r.Pages...)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.After(5 * time.Second)
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-end:
			t.Fatalf("never came true: %s", what)
		}
	}
}

func TestEdge(t *testing.T) {
	w := conformance.NewWorld(t, 30)
	for _, c := range []struct {
		name string
		run  func(*testing.T, *edge)
	}{
		{"plays_and_reports", playsAndReports},
		{"early_data_survives_a_restart", earlyData},
		{"drains", drains},
		{"asks_with_the_ticket", asksWithTicket},
		{"fence_is_not_known", fenceNotKnown},
		{"objects", objectRanges},
		{"object_is_gone", objectGone},
		{"origins", origins},
		{"fallback_statuses", fallbackStatuses},
		{"endpoint", endpointRoute},
		{"sessions_that_vanish", sessionsVanish},
		{"watch", watch},
		{"watch_ends_with_its_ticket", watchExpires},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, newEdge(t, w)) })
	}
}

func playsAndReports(t *testing.T, e *edge) {
	e.p.set(func() { e.p.away = true }) // reports wait until playback is back
	play := id.ID{1, 2, 3}
	got, st := listen(t, openSession(t, e.config()), client.Request{Track: e.p.w.Track, PlayID: play, Quality: wire.Kbps160})
	if !bytes.Equal(got, e.p.w.Plain[wire.Kbps160]) || st.Stats().Transport != client.TransportQUIC {
		t.Errorf("%d bytes by %+v", len(got), st.Stats())
	}
	if st.Head().GainTrack != -1280 {
		t.Errorf("gain is %d", st.Head().GainTrack)
	}
	want := st.Head().TotalSamples * 1000 / 44100
	e.p.set(func() { e.p.away = false })
	waitFor(t, "served is reported", func() bool {
		e.p.mu.Lock()
		defer e.p.mu.Unlock()
		s := e.p.served[play.String()]
		return s.GetServedMs() == want && s.GetBytes() >= uint64(len(got)-len(st.Setup()))
	})
}

func earlyData(t *testing.T, e *edge) {
	cfg := e.config()
	cfg.Resumption = client.NewResumption()
	first := openSession(t, cfg)
	listen(t, first, client.Request{Track: e.p.w.Track, Until: time.Second})
	_ = first.Close()
	e.stop()
	e.start()
	cfg.Endpoints = []client.Endpoint{e.endpoint()}
	play := id.ID{7}
	_, st := listen(t, openSession(t, cfg), client.Request{Track: e.p.w.Track, PlayID: play, Until: time.Second})
	if got := st.Stats().Transport; got != client.TransportQUIC0RTT {
		t.Fatalf("transport is %s", got)
	}
	waitFor(t, "an early play is counted once its handshake is complete", func() bool {
		e.p.mu.Lock()
		defer e.p.mu.Unlock()
		return e.p.served[play.String()].GetServedMs() >= 1000
	})
}

func drains(t *testing.T, e *edge) {
	c := e.dialQUIC(t)
	st := c.Open(t)
	f := e.fixture()
	p := wire.Play{Track: f.Track, PlayID: [16]byte{1}, Codecs: 1, CreditMs: 1000, Ticket: f.Ticket}
	if _, err := st.Write(p.Append(nil)); err != nil {
		t.Fatal(err)
	}
	r := wire.NewReader(st, wire.MaxServer)
	if fr, err := r.Next(); err != nil || fr.Type != wire.TypeHead {
		t.Fatalf("%v, %v", fr, err)
	}
	go e.stop()
	for {
		fr, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if fr.Type != wire.TypeErr {
			continue
		}
		refused, err := wire.ParseErr(fr.Payload)
		if err != nil || refused.Code != wire.Draining {
			t.Errorf("%v, %v", refused, err)
		}
		break
	}
	e.stop()
	if _, ms := f.Served([16]byte{1}); ms == 0 {
		t.Error("what was served was not reported at the end")
	}
}

func asksWithTicket(t *testing.T, e *edge) {
	listen(t, openSession(t, e.config()), client.Request{Track: e.p.w.Track, Quality: wire.Kbps160, Until: time.Second, Prefetch: true})
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	r := e.p.resolves[0]
	if r.GetQualityKbps() != 160 || r.GetUserId() != (id.ID{8}).String() || r.GetDeviceId() != (id.ID{9}).String() || r.GetMarket() != "DE" ||
		r.GetPlan() != "premium" || r.GetActiveEpoch() != 3 || r.GetMaxKbps() != 320 || !r.GetPrefetch() || !r.GetExplicitAllowed() || r.GetSessionKeyId() != 1 {
		t.Errorf("asked %v", r)
	}
}

// fenceNotKnown: an outage of playback does not silence who is listening.
func fenceNotKnown(t *testing.T, e *edge) {
	e.p.set(func() { e.p.away = true })
	got, _ := listen(t, openSession(t, e.config()), client.Request{Track: e.p.w.Track, Quality: wire.Kbps96})
	if !bytes.Equal(got, e.p.w.Plain[wire.Kbps96]) {
		t.Error("the play did not go through")
	}
	e.p.set(func() { e.p.away = false })
}

func (e *edge) get(t *testing.T, url string, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.web.URL+url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := e.web.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

func objectRanges(t *testing.T, e *edge) {
	_, st := listen(t, openSession(t, e.config()), client.Request{Track: e.p.w.Track, Quality: wire.Kbps96, Until: 3 * time.Second})
	h, x := st.Head(), st.Index()
	if x == nil {
		t.Fatal("no index")
	}
	url := strings.ReplaceAll(h.CDN, "{object}", hex.EncodeToString(h.ObjectID[:]))
	_, object := e.p.w.Object(wire.Kbps96)
	first := x.Offset + x.Records[0].Length
	resp, b := e.get(t, url, "Range", fmt.Sprintf("bytes=%d-%d", first, first+x.Records[1].Length-1))
	if resp.StatusCode != http.StatusPartialContent || !bytes.Equal(b, object[first:first+x.Records[1].Length]) {
		t.Errorf("%s: %d bytes", resp.Status, len(b))
	}
	for k, want := range map[string]string{
		"Cache-Control": "public, max-age=31536000, immutable", "Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin",
	} {
		if got := resp.Header.Get(k); got != want {
			t.Errorf("%s is %q", k, got)
		}
	}
	if resp, b := e.get(t, url); resp.StatusCode != http.StatusOK || !bytes.Equal(b, object) {
		t.Errorf("whole: %s, %d bytes", resp.Status, len(b))
	}
	path, token, _ := strings.Cut(url, "?t=")
	other, _ := e.p.w.Object(wire.Kbps160)
	for name, c := range map[string]struct {
		url    string
		header string
		status int
	}{
		"no token":       {path, "", http.StatusUnauthorized},
		"changed token":  {path + "?t=" + token[:len(token)-2] + "AA", "", http.StatusUnauthorized},
		"long token":     {path + "?t=" + token + token, "", http.StatusUnauthorized},
		"another object": {"/o/" + hex.EncodeToString(other.ObjectID[:]) + "?t=" + token, "", http.StatusUnauthorized},
		"no object id":   {"/o/..%2fmaster?t=" + token, "", http.StatusNotFound},
		"upper case":     {strings.ToUpper(path[3:]) + "?t=" + token, "", http.StatusNotFound},
		"out of range":   {url, "bytes=999999999-", http.StatusRequestedRangeNotSatisfiable},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.HasPrefix(c.url, "/") {
				c.url = "/o/" + c.url
			}
			resp, _ := e.get(t, c.url, "Range", c.header)
			if resp.StatusCode != c.status || (resp.Header.Get("Cache-Control") != "no-store" && c.status != http.StatusNotFound) {
				t.Errorf("%s, %q", resp.Status, resp.Header.Get("Cache-Control"))
			}
		})
	}
	// The token is this edge's alone.
	e.stop()
	e.cfg.EdgeID = "edge-2"
	e.start()
	if resp, _ := e.get(t, url); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("another edge: %s", resp.Status)
	}
	// Of those of a site, each takes the tokens of the others.
	e.stop()
	e.cfg.EdgeID, e.cfg.Site = "edge-3", "edge-1"
	e.start()
	if resp, _ := e.get(t, url); resp.StatusCode != http.StatusOK {
		t.Errorf("another edge of the site: %s", resp.Status)
	}
}

// objectGone: playback names an object that the store does not have.
func objectGone(t *testing.T, e *edge) {
	e.p.w.Seal(t, wire.Kbps96) // known to playback, not stored
	_, err := openSession(t, e.config()).Play(t.Context(), client.Request{Track: e.p.w.Track, Quality: wire.Kbps96})
	if !errors.Is(err, &wire.Error{Code: wire.NotFound}) {
		t.Errorf("got %v", err)
	}
}

func origins(t *testing.T, e *edge) {
	e.deps.Origins = func() []string { return []string{"https://own.example:8443"} }
	e.stop()
	e.start()
	for origin, want := range map[string]bool{
		"https://music.example": true, "https://own.example:8443": true, "http://127.0.0.1:5173": true, "http://localhost:1": true, "https://[::1]": true,
		"": false, "null": false, "https://evil.example": false, "https://music.example.evil.example": false, "http://music.example": false, "https://own.example": false,
	} {
		sess, stop, err := e.session(t.Context(), origin)
		if (err == nil) != want {
			t.Errorf("origin %q: %v", origin, err)
		}
		if sess != nil {
			stop()
		}
	}
}

// sessionsVanish breaks streams off as a session does that ends, but does not end the
// session: nothing may wait for that when the edge stops.
func sessionsVanish(t *testing.T, e *edge) {
	conn, err := quic.DialAddr(t.Context(), e.endpoint().QUIC, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}},
		&quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	wt, err := new(webtransport.Transport).NewClientConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := wt.Dial(t.Context(), "https://"+e.endpoint().QUIC+"/stream/v1/wt", http.Header{"Origin": {"https://music.example"}}); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		st, err := conn.OpenStreamSync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// A stream of the session on stream 0, and half a frame.
		if _, err := st.Write([]byte{0x40, 0x41, 0, 1}); err != nil {
			t.Fatal(err)
		}
		st.SetReliableBoundary() // these four bytes arrive all the same
		st.CancelWrite(webtransport.WTSessionGoneErrorCode)
		st.CancelRead(webtransport.WTSessionGoneErrorCode)
	}
	start := time.Now()
	e.stop()
	if took := time.Since(start); took >= e.cfg.DrainTimeout {
		t.Errorf("stopping took %s", took)
	}
}

func fallbackStatuses(t *testing.T, e *edge) {
	f := e.fixture()
	good := wire.Play{Track: f.Track, PlayID: [16]byte{1}, Codecs: 1, UntilMs: 1000, Ticket: f.Ticket}
	expired := good
	expired.Ticket = f.Expired
	missing := good
	missing.Track = [16]byte{0xee}
	opus := good
	opus.Codecs = wire.Opus.Set()
	for name, c := range map[string]struct {
		body   []byte
		status int
	}{
		"good":      {good.Append(nil), http.StatusOK},
		"garbage":   {[]byte("hello"), http.StatusBadRequest},
		"empty":     {nil, http.StatusBadRequest},
		"huge":      {bytes.Repeat([]byte{0x30, 0}, 5000), http.StatusBadRequest},
		"expired":   {expired.Append(nil), http.StatusUnauthorized},
		"not found": {missing.Append(nil), http.StatusNotFound},
		"opus":      {opus.Append(nil), http.StatusNotAcceptable},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.web.URL+"/stream/v1/play", bytes.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Origin", "https://music.example")
			resp, err := e.web.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != c.status || resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Access-Control-Allow-Origin") != "https://music.example" {
				t.Errorf("%s, %v", resp.Status, resp.Header)
			}
			first, err := wire.NewReader(resp.Body, wire.MaxServer).Next()
			if want := map[bool]wire.Type{true: wire.TypeHead, false: wire.TypeErr}[c.status == http.StatusOK]; err != nil || first.Type != want {
				t.Errorf("first frame %#x, %v", uint64(first.Type), err)
			}
		})
	}
	if resp, _ := e.get(t, "/stream/v1/play"); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %s", resp.Status)
	}
}

func endpointRoute(t *testing.T, e *edge) {
	_, b := e.get(t, "/stream/v1/endpoint")
	var got struct {
		QUIC         string   `json:"quic"`
		WebTransport string   `json:"webtransport"`
		Certificates [][]byte `json:"certificate_sha256"`
		Fallback     string   `json:"fallback"`
		Objects      string   `json:"objects"`
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	addr, path, hashes := e.svc.Endpoint()
	if got.QUIC != addr || !strings.HasPrefix(addr, ":") || got.WebTransport != path || len(got.Certificates) != 2 ||
		!bytes.Equal(got.Certificates[0], hashes[0]) || got.Fallback != "/stream/v1/play" || got.Objects != "/o/" {
		t.Errorf("endpoint is %s", b)
	}
	e.stop()
	e.cfg.PublicHost = "edge.example:443"
	e.start()
	if addr, _, _ := e.svc.Endpoint(); addr != "edge.example:443" {
		t.Errorf("public address is %s", addr)
	}
}

func watch(t *testing.T, e *edge) {
	e.p.set(func() { e.p.state = &playbackv1.PlayerState{Revision: 1} })
	st := e.dialQUIC(t).Open(t)
	f := e.fixture()
	ask := wire.Watch{Ticket: f.Ticket}
	if _, err := st.Write(ask.Append(nil)); err != nil {
		t.Fatal(err)
	}
	r := wire.NewReader(st, wire.MaxServer)
	for want := uint64(1); want < 4; want++ {
		fr, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		state, err := wire.ParseState(fr.Payload)
		if err != nil {
			t.Fatal(err)
		}
		var p playbackv1.PlayerState
		if err := proto.Unmarshal(state.Player, &p); err != nil || state.Revision != want || p.GetRevision() != want {
			t.Fatalf("revision %d, %v, %v, want %d", state.Revision, &p, err, want)
		}
		if _, err := st.Write(ask.Append(nil)); err != nil { // a renewal
			t.Fatal(err)
		}
		e.p.set(func() { e.p.state = &playbackv1.PlayerState{Revision: want + 1} })
	}
}

func watchExpires(t *testing.T, e *edge) {
	st := e.dialQUIC(t).Open(t)
	ask := wire.Watch{Ticket: e.ticket(time.Now().Add(300 * time.Millisecond))}
	if _, err := st.Write(ask.Append(nil)); err != nil {
		t.Fatal(err)
	}
	fr, err := wire.NewReader(st, wire.MaxServer).Next()
	if err != nil {
		t.Fatal(err)
	}
	refused, err := wire.ParseErr(fr.Payload)
	if err != nil || refused.Code != wire.TicketExpired {
		t.Errorf("%v, %v", refused, err)
	}
}
