//go:build system && fault

package system

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
)

// unlimited are settings under which the load of one machine is not taken for an attack.
var unlimited = func() []string { //nolint:gochecknoglobals // a constant
	out := []string{"-obs.log-level=warn", "-collect.rate=1000000", "-collect.burst=1000000", "-upload.quota=0", "-upload.max-open=0", "-user.login-per-ip=100000"}
	for _, class := range []string{"page", "rpc", "login", "events", "upload", "media"} {
		for _, by := range []string{"ip", "user"} {
			out = append(out, fmt.Sprintf("-http.rate.%s-per-%s=1000000+1000000", class, by))
		}
	}
	return out
}()

// killed ends the one process of d at once and starts it again. It returns how long it
// was from the signal to the first answer that it serves.
func (d *deployment) killed() time.Duration {
	d.Helper()
	p := d.procs[0]
	at := time.Now()
	if err := p.cmd.Process.Kill(); err != nil {
		d.Fatal(err)
	}
	_ = p.cmd.Wait() // killed: it says so
	d.again(p)
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if res, err := client.Get(d.URL + "/readyz"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(at) > time.Minute {
			d.Fatal("segue does not serve again")
		}
	}
	took := time.Since(at)
	d.await(p)
	return took
}

// figures of times: their median and their greatest.
func medianMax(list []time.Duration) (median, most time.Duration) {
	s := slices.Sorted(slices.Values(list))
	return s[len(s)/2].Round(time.Millisecond), s[len(s)-1].Round(time.Millisecond)
}

// TestFault_Kill9 kills segue by SIGKILL again and again while clients write: accounts,
// player states, events and uploads. What was acknowledged before a kill is there after
// it, and what clients repeat because they had no answer has its effect once.
//
// -fault.full kills 25 times under at least 100,000 acknowledged writes.
func TestFault_Kill9(t *testing.T) {
	kills, writes := 3, 4_000
	if *fullFault {
		kills, writes = 25, 100_000
	}
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 64
	d := single(t, unlimited...)
	d.login()
	admin := d.admin()
	l := newLedger(d)

	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	defer stop()
	for _, w := range l.writers(d, admin) {
		clients.Go(func() { w.run(ctx) })
	}
	watch := d.signIn("admin", adminPassword)
	var ready []time.Duration
	for n := range kills {
		d.until(10*time.Minute, "writes before the kill", func() error {
			if got, want := l.total(), int64(writes)*int64(n+1)/int64(kills); got < want {
				return errorf("%d of %d", got, want)
			}
			return nil
		})
		<-time.After(rand.N(200 * time.Millisecond)) // the moment is chance
		took := d.killed()
		ready = append(ready, took)
		// What clients had no answer for they repeat now; then they wait.
		l.gate.Lock()
		if err := watch.renew(); err != nil {
			t.Fatalf("the sign-in did not survive kill %d: %v", n+1, err)
		}
		l.verify(watch, l.told())
		l.gate.Unlock()
		if took > 5*time.Second {
			t.Errorf("kill %d: serving again only after %s", n+1, took)
		}
		if t.Failed() {
			break
		}
	}
	l.end(stop, &clients)
	if err := watch.renew(); err != nil {
		t.Fatal(err)
	}
	l.verify(watch, l.told())
	l.settled(watch)
	log, err := os.ReadFile(d.procs[0].log)
	if err != nil || strings.Contains(string(log), "panic") {
		t.Errorf("the log tells of a panic: %v", err)
	}
	median, most := medianMax(ready)
	t.Logf("%d kills, %d acknowledged writes (%s), %d repeated without an answer, lost %d, doubled %d, to ready p50 %s max %s",
		len(ready), l.total(), l.kinds(), l.again.Load(), l.lost.Load(), l.doubled.Load(), median, most)
}

// told is what clients were told is kept, at one moment.
type told struct {
	at       time.Time
	events   map[string]string // id of an event that must be in the log: what it is
	players  map[string]uint64 // revision by user
	tracks   map[string]uint64 // revision by track
	accounts map[string]string // id by name
	uploads  map[string]int64  // bytes by id
}

// verify looks for everything that was acknowledged, by the public API and in the log.
func (l *ledger) verify(p *person, want told) {
	l.d.Helper()
	l.verifyState(p, want)
	l.verifyEvents(p, want)
}

// verifyState looks for what the owners of data hold.
func (l *ledger) verifyState(p *person, want told) {
	l.d.Helper()
	for _, w := range l.clients {
		at, ok := want.players[w.ID]
		if !ok {
			continue
		}
		var now uint64
		if w.until(l.d.Context(), "get player", func() error {
			res, err := w.Player.GetPlayer(l.d.Context(), &playbackv1.GetPlayerRequest{})
			now = res.GetState().GetRevision()
			return err
		}) && now != at {
			l.lose("player of %s: revision %d, was told %d", w.ID, now, at)
		}
	}
	for _, track := range l.tracks {
		var now uint64
		l.d.until(30*time.Second, "a track", func() error {
			res, err := p.Catalogue.GetTracks(l.d.Context(), &metadatav1.GetTracksRequest{Ids: []string{track}})
			for _, t := range res.GetTracks() {
				now = t.GetRevision()
			}
			return err
		})
		if at := want.tracks[track]; at != 0 && now != at {
			l.lose("track %s: revision %d, was told %d", track, now, at)
		}
	}
	var accounts map[string]string
	l.d.until(30*time.Second, "the list of accounts", func() (err error) {
		accounts, err = allAccounts(p)
		return err
	})
	for name, id := range want.accounts {
		if accounts[name] != id {
			l.lose("account %s: is %q, was told %q", name, accounts[name], id)
		}
	}
	uploads := l.uploads(p)
	for id, n := range want.uploads {
		u := uploads[id]
		if int64(u.GetReceivedBytes()) < n {
			l.lose("upload %s: %d bytes of %d that were acknowledged", id, u.GetReceivedBytes(), n)
		}
	}
}

// uploads are all of the admin's, by id.
func (l *ledger) uploads(p *person) map[string]*uploadv1.Upload {
	l.d.Helper()
	var out map[string]*uploadv1.Upload
	l.d.until(time.Minute, "the list of uploads", func() error {
		out = map[string]*uploadv1.Upload{}
		for token := ""; ; {
			res, err := p.Uploads.ListUploads(l.d.Context(), &uploadv1.ListUploadsRequest{PageSize: 200, PageToken: token})
			if err != nil {
				return err
			}
			for _, u := range res.GetUploads() {
				out[u.GetId()] = u
			}
			if token = res.GetNextPageToken(); token == "" {
				return nil
			}
		}
	})
	return out
}

// verifyEvents looks for the events since the last time.
func (l *ledger) verifyEvents(p *person, want told) {
	l.d.Helper()
	var missing []string
	l.d.until(60*time.Second, "the acknowledged events", func() error {
		have := l.inLog(p)
		missing = missing[:0]
		for id, what := range want.events {
			if have[id] == 0 {
				missing = append(missing, what+" "+id)
			}
		}
		if len(missing) > 0 && time.Since(want.at) < 30*time.Second {
			return errorf("%d of %d are missing, such as %s", len(missing), len(want.events), missing[0])
		}
		for id, n := range have {
			if n > 1 {
				l.double("event %s is in the log %d times", id, n)
			}
		}
		return nil
	})
	for _, m := range missing {
		l.lose("%s", m)
	}
	// What is acknowledged next may have been made before this moment, but not before the
	// last one: a client waits for its answer no longer.
	l.from.Store(l.mark.Swap(want.at.UnixMilli()))
}

// inLog counts the records of each event of this window.
func (l *ledger) inLog(p *person) map[string]int {
	l.d.Helper()
	out := map[string]int{}
	l.d.until(60*time.Second, "the events", func() error {
		clear(out)
		return p.eachEvent(time.UnixMilli(l.from.Load()), func(_ string, e *eventv1.Envelope) {
			out[e.GetId()]++
			if key := l.keyOf(e); key != "" {
				out[key]++
			}
		})
	})
	return out
}

// keyOf names what an event is about where no client knows the event's id.
func (l *ledger) keyOf(e *eventv1.Envelope) string {
	switch e.GetType() {
	case "PlayerStateChanged", "TrackChanged", "AccountCreated", "UploadStarted", "UploadStaged":
		key := e.GetType() + " " + e.GetSubject()
		if e.GetType() == "PlayerStateChanged" || e.GetType() == "TrackChanged" {
			key += fmt.Sprint(" ", e.GetRevision())
		}
		return key
	}
	return ""
}

// eachEvent visits the events since a time, topic by topic.
func (p *person) eachEvent(from time.Time, visit func(topic string, e *eventv1.Envelope)) error {
	for _, topic := range []string{"client-diagnostics", "playback-events", "user-identity-events", "upload-events", "catalogue-events"} {
		at, seen := from, map[[2]int64]bool{}
		for {
			stream, err := p.Audit.SearchEvents(p.Context(), &warehousev1.SearchEventsRequest{
				Filter: &warehousev1.Filter{Topics: []string{topic}, From: stamp(at)}, Limit: 100_000,
			})
			if err != nil {
				return err
			}
			n := 0
			for stream.Receive() {
				e := stream.Msg().GetEvent()
				n++
				place := [2]int64{int64(e.GetPartition()), e.GetOffset()}
				if seen[place] {
					continue
				}
				seen[place] = true
				at = e.GetEnvelope().GetTime().AsTime()
				visit(topic, e.GetEnvelope())
			}
			err = stream.Err()
			_ = stream.Close()
			if err != nil {
				return err
			}
			if n < 100_000 {
				break
			}
		}
	}
	return nil
}

func allAccounts(p *person) (map[string]string, error) {
	out := map[string]string{}
	for token := ""; ; {
		res, err := p.Accounts.ListAccounts(p.Context(), &userv1.ListAccountsRequest{PageSize: 200, PageToken: token})
		if err != nil {
			return nil, err
		}
		for _, a := range res.GetAccounts() {
			if out[a.GetUsername()] != "" {
				return nil, fmt.Errorf("two accounts %s", a.GetUsername())
			}
			out[a.GetUsername()] = a.GetId()
		}
		if token = res.GetNextPageToken(); token == "" {
			return out, nil
		}
	}
}

// settled waits for the end of every job and looks at what is left over.
func (l *ledger) settled(p *person) {
	l.d.Helper()
	states := map[uploadv1.UploadState]int{}
	l.d.until(5*time.Minute, "the end of every upload", func() error {
		clear(states)
		open := 0
		uploads := l.uploads(p)
		for id, n := range l.sent() {
			u := uploads[id]
			if int64(u.GetReceivedBytes()) < n {
				l.lose("upload %s: %d bytes of %d that were acknowledged", id, u.GetReceivedBytes(), n)
			}
			states[u.GetState()]++
			switch u.GetState() {
			case uploadv1.UploadState_UPLOAD_STATE_COMPLETE, uploadv1.UploadState_UPLOAD_STATE_DUPLICATE, uploadv1.UploadState_UPLOAD_STATE_FAILED:
			case uploadv1.UploadState_UPLOAD_STATE_RECEIVING:
				if n == int64(u.GetSizeBytes()) {
					open++
				}
			default:
				open++
			}
		}
		if open > 0 {
			return errorf("%d are in work", open)
		}
		return nil
	})
	work := "data/upload/work"
	if l.d.bucket != nil {
		work = "upload/upload/work"
	}
	if left, err := os.ReadDir(l.d.file(work)); err != nil || len(left) > 0 {
		l.d.Errorf("work folders are left: %d, %v", len(left), err)
	}
	failed := states[uploadv1.UploadState_UPLOAD_STATE_FAILED] // kept for another try
	if staged := l.staged(); staged > failed {
		l.d.Errorf("%d staged files for %d failed uploads", staged, failed)
	}
	l.d.Logf("uploads: %v", maps.Collect(maps.All(states)))
}

// staged counts the files that are kept until they are taken in.
func (l *ledger) staged() (n int) {
	l.d.Helper()
	if l.d.bucket == nil {
		list, _ := os.ReadDir(l.d.file("data/blobs/objects/staging"))
		return len(list)
	}
	for _, err := range l.d.bucket.Keys(l.d.Context(), "staging/") {
		if err != nil {
			l.d.Fatal(err)
		}
		n++
	}
	return n
}
