//go:build system && fault

package system

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/stream/wire"
)

const diskFullText = "the server's disk is full"

// smallDisk starts one process whose data folder is a file system of its own.
func smallDisk(t *testing.T, size string, more ...string) *deployment {
	d := prepare(t)
	if os.Geteuid() != 0 {
		t.Fatal("this experiment mounts a small file system: run it as root")
	}
	at := d.file("data")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", at, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a small file system (it takes CAP_SYS_ADMIN): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	p := d.start(nil, append([]string{
		"-data=" + at, "-http.listen=127.0.0.1:0", "-quic.listen=127.0.0.1:0", "-user.admin-password.file=" + d.file("password"),
	}, more...)...)
	d.await(p)
	d.URL, d.QUIC = p.addr.HTTP, p.addr.QUIC
	p.args = append(p.args, "-http.listen="+strings.TrimPrefix(d.URL, "http://"))
	return d
}

// fill takes all space but so many bytes, and keeps at it: what others free is taken too.
func (d *deployment) fill(leave int64) {
	d.Helper()
	f, err := os.OpenFile(d.file("data/filler"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.Fatal(err)
	}
	defer f.Close()
	for {
		var s syscall.Statfs_t
		if err := syscall.Statfs(d.file("data"), &s); err != nil {
			d.Fatal(err)
		}
		left := int64(s.Bavail)*s.Bsize - leave
		if left <= 0 {
			return
		}
		_, err := f.Write(make([]byte, min(left, 1<<20)))
		if errors.Is(err, syscall.ENOSPC) {
			return
		}
		if err != nil {
			d.Fatal(err)
		}
	}
}

func (d *deployment) empty() {
	d.Helper()
	if err := os.Remove(d.file("data/filler")); err != nil {
		d.Fatal(err)
	}
}

// diskWorld is what somebody has before the disk is full.
type diskWorld struct {
	*deployment
	admin, ann *person
	track      string
	session    *listening
	half       []byte
	at         string
	cut        int
	acked      map[uint64]bool // revisions of ann's player
	batch      int
}

func (w *diskWorld) update() error {
	res, err := w.ann.Player.GetPlayer(w.Context(), &playbackv1.GetPlayerRequest{})
	if err != nil {
		return err
	}
	up, err := w.ann.Player.UpdatePlayer(w.Context(), &playbackv1.UpdatePlayerRequest{
		Revision: res.GetState().GetRevision(), DeviceId: w.ann.Device, State: &playbackv1.PlayerState{
			Queue: []*playbackv1.QueueItem{{TrackId: w.track}}, Playing: true, PositionMs: 1,
		}, Activate: true,
	})
	if err == nil {
		w.acked[up.GetState().GetRevision()] = true
	}
	return err
}

func (w *diskWorld) account(name string) error {
	_, err := w.admin.Accounts.CreateAccount(w.Context(), &userv1.CreateAccountRequest{
		Username: name, Password: personPass, Roles: []authv1.Role{authv1.Role_ROLE_LISTENER}, IdempotencyKey: newID(),
	})
	return err
}

// events sends the start of a play and a diagnostic.
func (w *diskWorld) events2() (*collectv1.SendEventsResponse, error) {
	w.batch++
	return w.ann.Collect.SendEvents(w.Context(), &collectv1.SendEventsRequest{DeviceId: w.ann.Device, Events: []*collectv1.ClientEvent{
		{Id: fmt.Sprintf("p%d", w.batch), Payload: &collectv1.ClientEvent_Started{Started: &eventv1.PlaybackStarted{PlayId: newID(), TrackId: w.track}}},
		{Id: fmt.Sprintf("d%d", w.batch), Payload: &collectv1.ClientEvent_Diagnostic{Diagnostic: &eventv1.ClientDiagnostic{Name: "disk"}}},
	}})
}

func (w *diskWorld) wantFull(what string, err error) {
	w.Helper()
	var ce *connect.Error
	if !errors.As(err, &ce) || ce.Code() != connect.CodeResourceExhausted || ce.Message() != diskFullText {
		w.Errorf("%s: %v, want resource_exhausted: %s", what, err, diskFullText)
	}
}

// TestFault_DiskFull fills the disk of the data folder while everything is under way:
// first up to the reserve, then to the last byte.
func TestFault_DiskFull(t *testing.T) {
	d := smallDisk(t, "256m", "-obs.log-level=warn", "-data.reserve=33554432", "-upload.workers=1")
	d.login()
	d.must("upload", d.noise("There.flac", 20, 1, tags("There", "Disk")...), "--wait")
	w := &diskWorld{deployment: d, admin: d.admin(), track: d.track("There").ID, acked: map[uint64]bool{}}
	w.ann = d.listener(w.admin, "ann")
	w.ann.activate(w.track)
	w.session = w.ann.open(false)
	var err error
	if w.half, err = os.ReadFile(d.noise("half.flac", 10, 2, tags("Half", "Disk")...)); err != nil {
		t.Fatal(err)
	}
	w.at, w.cut = w.admin.create("half.flac", len(w.half)), len(w.half)/2
	if status := w.admin.patch(w.at, 0, w.half[:w.cut]); status != http.StatusNoContent {
		t.Fatalf("first half: %d", status)
	}
	w.nearly()
	w.completely()
	w.again()
	log, err := os.ReadFile(d.procs[0].log)
	if err != nil || strings.Contains(string(log), "panic") {
		t.Errorf("the log tells of a panic: %v", err)
	}
	t.Logf("log: %d lines", strings.Count(string(log), "\n"))
}

// nearly: what can wait is refused, the rest goes on.
func (w *diskWorld) nearly() {
	w.Helper()
	w.fill(16 << 20)
	w.until(10*time.Second, "the refusal of an upload", func() error {
		if _, status := w.admin.send("new.flac", w.half); status != http.StatusInsufficientStorage {
			return errorf("status %d", status)
		}
		return nil
	})
	if status := w.admin.patch(w.at, int64(w.cut), w.half[w.cut:]); status != http.StatusInsufficientStorage {
		w.Errorf("second half: status %d, want 507", status)
	}
	out, diag, err := w.ctl("", "upload", w.noise("ctl.flac", 2, 3))
	if err == nil || !strings.Contains(out+diag, diskFullText) {
		w.Errorf("seguectl upload: %v %q %q", err, out, diag)
	}
	w.Logf("seguectl says: %s", strings.TrimSpace(diag))
	before := w.metric(w.procs[0], "segue_collect_events_total", `outcome="shed"`)
	res, err := w.events2()
	if err != nil || res.GetAccepted() != 1 || len(res.GetRefused()) != 1 || !strings.HasPrefix(res.GetRefused()[0].GetId(), "d") {
		w.Errorf("events: %v %v, want the diagnostic shed alone", res, err)
	}
	if got := w.metric(w.procs[0], "segue_collect_events_total", `outcome="shed"`); got != before+1 {
		w.Errorf("shed events counted: %v after %v", got, before)
	}
	for what, err := range map[string]error{"player": w.update(), "account": w.account("in-the-reserve")} {
		if err != nil {
			w.Errorf("%s: %v", what, err)
		}
	}
	w.empty()
}

// completely: an ingest is under way when the last byte is taken.
func (w *diskWorld) completely() {
	w.Helper()
	w.until(10*time.Second, "space", func() error { return w.update() })
	content, err := os.ReadFile(w.noise("encoding.flac", 40, 4, tags("Encoding", "Disk")...))
	if err != nil {
		w.Fatal(err)
	}
	var encoding string
	w.until(10*time.Second, "an upload", func() error {
		id, status := w.admin.send("encoding.flac", content)
		if encoding = id; status != http.StatusCreated {
			return errorf("status %d", status)
		}
		return nil
	})
	w.admin.reaches(encoding, uploadv1.UploadState_UPLOAD_STATE_PROCESSING)
	// Chunks of SQLite's files have room for some more; nothing else has.
	w.until(30*time.Second, "the end of the last room", func() error {
		w.fill(0)
		if err := w.update(); err == nil {
			return errorf("player states are still taken")
		}
		return nil
	})
	deadline := time.Now().Add(15 * time.Second)
	tries := 0
	for time.Now().Before(deadline) {
		w.fill(0)
		tries++
		if err := w.update(); err != nil {
			w.wantFull("player", err)
		}
		if err := w.account(fmt.Sprintf("none-%d", tries)); err != nil {
			w.wantFull("account", err)
		}
		if _, err := w.events2(); err != nil {
			w.wantFull("events", err)
		}
		if _, n, _, err := w.session.sound(w.track, wire.Kbps160); err != nil || n != 20*44100 {
			w.Errorf("play on a full disk: %d samples, %v", n, err)
		}
		if _, status := w.admin.send("new.flac", w.half); status != http.StatusInsufficientStorage {
			w.Errorf("upload: status %d, want 507", status)
		}
		if w.Failed() {
			break
		}
	}
	if u := w.admin.upload(encoding); u.GetState() == uploadv1.UploadState_UPLOAD_STATE_FAILED {
		w.Errorf("the file is told to have failed: %s", u.GetReason())
	}
	if status, _, _ := w.get("/livez"); status != http.StatusOK {
		w.Errorf("livez: %d", status)
	}
	took := w.killed()
	w.Logf("full disk: %d rounds of writes refused, a track played in each; after kill -9 it serves again in %s", tries, took.Round(time.Millisecond))
	w.empty()
	freed := time.Now()
	w.until(30*time.Second, "a player state", w.update)
	w.Logf("writes are taken %s after space was back", time.Since(freed).Round(10*time.Millisecond))
	u := w.admin.reaches(encoding, uploadv1.UploadState_UPLOAD_STATE_COMPLETE)
	w.Logf("the ingest that met the full disk is complete %s after space was back, attempts %d", time.Since(freed).Round(100*time.Millisecond), u.GetAttempts())
}

// again: nothing acknowledged is lost, and the other half of an upload is taken.
func (w *diskWorld) again() {
	w.Helper()
	if got := w.admin.offset(w.at); got != int64(w.cut) {
		w.Errorf("the server has %d bytes of %d that were acknowledged", got, w.cut)
	}
	if status := w.admin.patch(w.at, int64(w.cut), w.half[w.cut:]); status != http.StatusNoContent {
		w.Errorf("second half: %d", status)
	}
	w.admin.reaches(w.at[len(w.at)-22:], uploadv1.UploadState_UPLOAD_STATE_COMPLETE)
	res, err := w.events2()
	if err != nil || res.GetAccepted() != 2 {
		w.Errorf("events: %v %v", res, err)
	}
	w.until(30*time.Second, "an event of each acknowledged player state", func() error {
		seen := map[uint64]int{}
		if err := w.admin.eachEvent(time.Now().Add(-time.Hour), func(_ string, e *eventv1.Envelope) {
			if e.GetType() == "PlayerStateChanged" && e.GetSubject() == "player:"+w.ann.ID {
				seen[e.GetRevision()]++
			}
		}); err != nil {
			return err
		}
		for r := range w.acked {
			if seen[r] != 1 {
				return errorf("revision %d: %d events", r, seen[r])
			}
		}
		return nil
	})
	w.signIn("in-the-reserve", personPass)
	if _, _, _, err := w.ann.open(false).sound(w.track, wire.Kbps96); err != nil {
		w.Errorf("play: %v", err)
	}
}
