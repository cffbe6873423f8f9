//go:build system && fault

package system

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/stream/id"
)

func stamp(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }

// ledger is kept outside the server: what its clients were told.
type ledger struct {
	d      *deployment
	track  string
	tracks []string // those whose availability is changed, one writer each
	audio  []byte   // a file with sound, sent again and again

	again, lost, doubled, from, mark atomic.Int64

	// gate holds the clients up, each between two of its steps.
	gate    sync.RWMutex
	clients []*writer

	mu    sync.Mutex
	is    told
	bytes map[string]int64 // of all uploads
	count map[string]int64
}

// newLedger takes in the tracks that clients hear of and change.
func newLedger(d *deployment) *ledger {
	d.Helper()
	d.must("upload", d.noise("Known.flac", 2, 7, tags("Known", "Killed")...), "--wait")
	audio, err := os.ReadFile(d.noise("short.flac", 1, 8, tags("Short", "Killed")...))
	if err != nil {
		d.Fatal(err)
	}
	l := &ledger{
		d: d, track: d.track("Known").ID, audio: audio, bytes: map[string]int64{}, count: map[string]int64{},
		is: told{
			events: map[string]string{}, players: map[string]uint64{}, tracks: map[string]uint64{}, accounts: map[string]string{}, uploads: map[string]int64{},
		},
	}
	for n := range 4 {
		title := fmt.Sprintf("Changed %d", n)
		d.must("upload", d.noise(title+".flac", 1, 70+n, tags(title, title)...), "--wait")
		l.tracks = append(l.tracks, d.track(title).ID)
	}
	l.mark.Store(time.Now().UnixMilli())
	l.from.Store(time.Now().UnixMilli())
	return l
}

// ack notes acknowledged writes of a kind.
func (l *ledger) ack(kind string, n int, note func(*told)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count[kind] += int64(n)
	note(&l.is)
}

func (l *ledger) total() (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.count {
		n += c
	}
	return n
}

func (l *ledger) kinds() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimPrefix(fmt.Sprint(l.count), "map")
}

// told is a copy; events and uploads are those since the copy before.
func (l *ledger) told() told {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := told{at: time.Now(), events: l.is.events, players: maps.Clone(l.is.players), tracks: maps.Clone(l.is.tracks), accounts: maps.Clone(l.is.accounts), uploads: l.is.uploads}
	l.is.events, l.is.uploads = map[string]string{}, map[string]int64{}
	return out
}

// sent are all uploads with the bytes that were acknowledged.
func (l *ledger) sent() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.bytes)
}

func (l *ledger) lose(format string, args ...any) {
	if l.lost.Add(1) <= 20 {
		l.d.Errorf("lost: "+format, args...)
	}
}

func (l *ledger) double(format string, args ...any) {
	if l.doubled.Add(1) <= 20 {
		l.d.Errorf("doubled: "+format, args...)
	}
}

// writer is one client. step does one thing until it is acknowledged or ctx ends.
type writer struct {
	*person
	l    *ledger
	step func(ctx context.Context, w *writer, n int)
}

func (w *writer) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil && !w.d.Failed(); n++ {
		w.l.gate.RLock()
		w.step(ctx, w, n)
		w.l.gate.RUnlock()
	}
}

// end stops the clients, each after what it is doing, so that nothing is made of which
// nobody was told.
func (l *ledger) end(stop context.CancelFunc, clients *sync.WaitGroup) {
	if !l.d.Failed() {
		l.gate.Lock()
		stop()
		l.gate.Unlock()
	}
	stop()
	clients.Wait()
}

// until repeats a call that got no answer, as apps do. A refusal is an error of the test.
func (w *writer) until(ctx context.Context, what string, call func() error) bool {
	for first := true; ctx.Err() == nil; first = false {
		if !first {
			w.l.again.Add(1)
		}
		err := call()
		if err == nil {
			return true
		}
		switch connect.CodeOf(err) {
		case connect.CodeUnauthenticated:
			_ = w.renew() // it is told by the next call
		case connect.CodeUnavailable, connect.CodeUnknown, connect.CodeCanceled, connect.CodeDeadlineExceeded, connect.CodeAborted:
		default:
			if ctx.Err() == nil {
				w.d.Errorf("%s: %v", what, err)
			}
			return false
		}
		select {
		case <-time.After(20*time.Millisecond + rand.N(20*time.Millisecond)):
		case <-ctx.Done():
		}
	}
	return false
}

// writers signs the clients in.
func (l *ledger) writers(d *deployment, admin *person) []*writer {
	d.Helper()
	out := []*writer{{d.signIn("admin", adminPassword), l, (*ledger)(nil).account}}
	for _, track := range l.tracks {
		out = append(out, &writer{d.signIn("admin", adminPassword), l, func(ctx context.Context, w *writer, _ int) { w.changeTrack(ctx, track) }})
	}
	for i := range 12 {
		out = append(out, &writer{d.listener(admin, fmt.Sprintf("player-%d", i)), l, updatePlayer})
	}
	for i := range 6 {
		out = append(out, &writer{d.listener(admin, fmt.Sprintf("events-%d", i)), l, sendEvents})
	}
	for range 6 {
		out = append(out, &writer{d.signIn("admin", adminPassword), l, sendFile})
	}
	l.clients = out
	return out
}

// account makes an account under an idempotency key.
func (*ledger) account(ctx context.Context, w *writer, n int) {
	req := &userv1.CreateAccountRequest{
		Username: fmt.Sprintf("kept-%d", n), Password: personPass, Roles: []authv1.Role{authv1.Role_ROLE_LISTENER}, IdempotencyKey: newID(),
	}
	var got string
	if w.until(ctx, "create account", func() error {
		res, err := w.Accounts.CreateAccount(ctx, req)
		got = res.GetAccount().GetId()
		return err
	}) {
		w.l.ack("accounts", 1, func(t *told) {
			t.accounts[req.GetUsername()] = got
			t.events["AccountCreated user:"+got] = "account"
		})
	}
}

// updatePlayer changes a player by compare-and-set: whether a change that got no answer
// was made, its revision tells.
func updatePlayer(ctx context.Context, w *writer, _ int) {
	var before *playbackv1.PlayerState
	read := func() bool {
		return w.until(ctx, "get player", func() error {
			res, err := w.Player.GetPlayer(ctx, &playbackv1.GetPlayerRequest{})
			before = res.GetState()
			return err
		})
	}
	if !read() {
		return
	}
	w.l.sawPlayer(w, before.GetRevision())
	want := before.GetRevision() + 1
	for ctx.Err() == nil {
		res, err := w.Player.UpdatePlayer(ctx, &playbackv1.UpdatePlayerRequest{
			Revision: before.GetRevision(), DeviceId: w.Device, Activate: true,
			State: &playbackv1.PlayerState{
				Queue: []*playbackv1.QueueItem{{TrackId: w.l.track}}, Playing: true, PositionMs: want, VolumeMilli: uint32(want % 1000),
			},
		})
		at := res.GetState().GetRevision()
		if err != nil {
			w.l.again.Add(1)
			if !read() {
				return
			}
			at = before.GetRevision()
			if at == want-1 {
				continue // it was not made
			}
			res = &playbackv1.UpdatePlayerResponse{State: before}
		}
		if at != want || res.GetState().GetPositionMs() != want {
			w.l.double("player of %s: revision %d at %d ms, want %d", w.ID, at, res.GetState().GetPositionMs(), want)
		}
		w.l.sawPlayer(w, at)
		w.l.ack("player", 1, func(t *told) {
			t.players[w.ID] = at
			t.events[fmt.Sprintf("PlayerStateChanged player:%s %d", w.ID, at)] = "player"
		})
		return
	}
}

func (l *ledger) sawPlayer(w *writer, at uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at < l.is.players[w.ID] {
		l.lost.Add(1)
		l.d.Errorf("lost: player of %s is at revision %d, was told %d", w.ID, at, l.is.players[w.ID])
	}
}

// changeTrack changes who may hear a track, by compare-and-set, as updatePlayer does. What
// is asked for names the revision that it makes.
func (w *writer) changeTrack(ctx context.Context, track string) {
	var before *metadatav1.Track
	read := func() bool {
		return w.until(ctx, "get track", func() error {
			res, err := w.Catalogue.GetTracks(ctx, &metadatav1.GetTracksRequest{Ids: []string{track}})
			if err == nil && len(res.GetTracks()) != 1 {
				return connect.NewError(connect.CodeNotFound, fmt.Errorf("%d tracks %s", len(res.GetTracks()), track))
			}
			if err == nil {
				before = res.GetTracks()[0]
			}
			return err
		})
	}
	if !read() {
		return
	}
	w.l.sawTrack(track, before.GetRevision())
	want := before.GetRevision() + 1
	date := fmt.Sprintf("%d-01-01", 1000+want%1000)
	for ctx.Err() == nil {
		res, err := w.Catalogue.SetAvailability(ctx, &metadatav1.SetAvailabilityRequest{
			TrackId: track, Revision: before.GetRevision(), Availability: &metadatav1.Availability{ReleaseDate: date},
		})
		now := res.GetTrack()
		if err != nil {
			w.l.again.Add(1)
			if !read() {
				return
			}
			if now = before; now.GetRevision() == want-1 {
				continue // it was not made
			}
		}
		if now.GetRevision() != want || now.GetAvailability().GetReleaseDate() != date {
			w.l.double("track %s: revision %d of %q, want %d of %q", track, now.GetRevision(), now.GetAvailability().GetReleaseDate(), want, date)
		}
		w.l.sawTrack(track, now.GetRevision())
		w.l.ack("tracks", 1, func(t *told) {
			t.tracks[track] = now.GetRevision()
			t.events[fmt.Sprintf("TrackChanged track:%s %d", track, now.GetRevision())] = "track"
		})
		return
	}
}

func (l *ledger) sawTrack(track string, at uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at < l.is.tracks[track] {
		l.lost.Add(1)
		l.d.Errorf("lost: track %s is at revision %d, was told %d", track, at, l.is.tracks[track])
	}
}

// sendEvents sends a batch: one play, and diagnostics.
func sendEvents(ctx context.Context, w *writer, n int) {
	req := &collectv1.SendEventsRequest{DeviceId: w.Device}
	add := func(name string, e *collectv1.ClientEvent) {
		e.Id, e.ClientUnixMs = fmt.Sprintf("%d-%s", n, name), time.Now().UnixMilli()
		req.Events = append(req.Events, e)
	}
	play := newID()
	add("started", &collectv1.ClientEvent{Payload: &collectv1.ClientEvent_Started{Started: &eventv1.PlaybackStarted{PlayId: play, TrackId: w.l.track}}})
	add("progress", &collectv1.ClientEvent{Payload: &collectv1.ClientEvent_Progress{Progress: &eventv1.PlaybackProgress{PlayId: play, TrackId: w.l.track, PositionMs: 5}}})
	add("ended", &collectv1.ClientEvent{Payload: &collectv1.ClientEvent_Ended{Ended: &eventv1.PlaybackEnded{PlayId: play, TrackId: w.l.track, Reason: "stopped"}}})
	for i := range 17 {
		add(fmt.Sprint(i), &collectv1.ClientEvent{Payload: &collectv1.ClientEvent_Diagnostic{
			Diagnostic: &eventv1.ClientDiagnostic{Name: "fault.kill", Values: map[string]float64{"n": float64(n)}},
		}})
	}
	if w.until(ctx, "send events", func() error {
		res, err := w.Collect.SendEvents(ctx, req)
		if err == nil && len(res.GetRefused()) > 0 {
			w.d.Errorf("events refused: %v", res.GetRefused()[0])
		}
		return err
	}) {
		w.l.ack("events", len(req.GetEvents()), func(t *told) {
			for _, e := range req.GetEvents() {
				t.events[id.Derive("client event", w.ID, w.Device, e.GetId()).String()] = "event"
			}
		})
	}
}

// try sends one request of the tus protocol; only a lost answer is an error.
func (w *writer) try(ctx context.Context, method, path string, body []byte, header map[string]string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.d.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := w.Do(req)
	if err != nil {
		return nil, connect.NewError(connect.CodeUnavailable, err)
	}
	_, err = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if err != nil {
		return nil, connect.NewError(connect.CodeUnavailable, err)
	}
	switch {
	case res.StatusCode == http.StatusUnauthorized:
		return nil, connect.NewError(connect.CodeUnauthenticated, fmt.Errorf("%s", res.Status))
	case res.StatusCode >= 500:
		return nil, connect.NewError(connect.CodeUnavailable, fmt.Errorf("%s", res.Status))
	}
	return res, nil
}

// sendFile sends a file in two pieces. A creation that got no answer is begun anew: the
// protocol has no key for it, and what it left is unfinished and expires.
func sendFile(ctx context.Context, w *writer, n int) {
	content := w.l.audio
	if n%20 == 0 {
		content = make([]byte, 3000)
		for i := range content {
			content[i] = byte(rand.Uint32())
		}
	}
	var at string
	if !w.until(ctx, "create upload", func() error {
		res, err := w.try(ctx, http.MethodPost, "/upload/v1/files/", nil, map[string]string{
			"Upload-Length": fmt.Sprint(len(content)), "Upload-Metadata": "filename " + base64.StdEncoding.EncodeToString([]byte("short.flac")),
		})
		if err == nil && res.StatusCode != http.StatusCreated {
			return connect.NewError(connect.CodeInternal, fmt.Errorf("%s", res.Status))
		}
		if err == nil {
			at = res.Header.Get("Location")
		}
		return err
	}) {
		return
	}
	uploadID := at[strings.LastIndex(at, "/")+1:]
	w.l.ack("uploads", 1, func(t *told) {
		t.uploads[uploadID], w.l.bytes[uploadID] = 0, 0
		t.events["UploadStarted upload:"+uploadID] = "upload"
	})
	for _, end := range []int{len(content) / 2, len(content)} {
		if !w.until(ctx, "send bytes", func() error { return w.bytesUpTo(ctx, at, uploadID, content, end) }) {
			return
		}
		w.l.ack("uploads", 1, func(t *told) {
			t.uploads[uploadID], w.l.bytes[uploadID] = int64(end), int64(end)
			if end == len(content) {
				t.events["UploadStaged upload:"+uploadID] = "upload"
			}
		})
	}
}

// bytesUpTo asks how many bytes there are and sends those that are missing.
func (w *writer) bytesUpTo(ctx context.Context, at, uploadID string, content []byte, end int) error {
	res, err := w.try(ctx, http.MethodHead, at, nil, nil)
	if err != nil {
		return err
	}
	var have int
	if _, err := fmt.Sscan(res.Header.Get("Upload-Offset"), &have); err != nil {
		return connect.NewError(connect.CodeInternal, fmt.Errorf("offset: %s", res.Status))
	}
	w.l.mu.Lock()
	sure := w.l.bytes[uploadID]
	w.l.mu.Unlock()
	if int64(have) < sure {
		w.l.lose("upload %s has %d bytes of %d that were acknowledged", uploadID, have, sure)
	}
	if have >= end {
		return nil // the answer was lost, not the bytes
	}
	res, err = w.try(ctx, http.MethodPatch, at, content[have:end], map[string]string{
		"Content-Type": "application/offset+octet-stream", "Upload-Offset": fmt.Sprint(have),
	})
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusNoContent {
		return connect.NewError(connect.CodeAborted, fmt.Errorf("%s", res.Status))
	}
	return nil
}
