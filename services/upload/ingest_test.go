package upload_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	"github.com/segue-music/segue/gen/segue/upload/v1/uploadv1connect"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/rpc/rpctest"
	"github.com/segue-music/segue/services/upload"
)

// failingBlobs is a full disk.
type failingBlobs struct{ blob.Store }

func (failingBlobs) Put(context.Context, string, io.Reader, blob.PutOptions) error {
	return errors.New("no space left on disk /secret")
}

// eventNames are the events of an upload in short.
func eventNames(t *testing.T, es []*eventv1.Envelope) (out []string) {
	t.Helper()
	for _, e := range es {
		m, err := e.GetPayload().UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *eventv1.UploadStarted:
			out = append(out, "started")
		case *eventv1.UploadStaged:
			out = append(out, "staged")
		case *eventv1.UploadStateChanged:
			out = append(out, m.GetFrom()+">"+m.GetTo())
		case *eventv1.IngestStepDone:
			out = append(out, "done "+m.GetStep())
		case *eventv1.IngestStepFailed:
			out = append(out, fmt.Sprintf("failed %s %v", m.GetStep(), m.GetFinal()))
		case *eventv1.UploadRejected:
			out = append(out, "rejected "+m.GetCode())
		case *eventv1.DuplicateProposed:
			out = append(out, fmt.Sprintf("proposed equal=%v", m.GetEqualPcm()))
		}
	}
	return out
}

func TestEvents_OfOneUpload(t *testing.T) {
	r := newWorld(t).start(t)
	uploadID := r.send(t, artist(), "x.flac", makeAudio(t, "flac", 4, 4))
	r.until(t, uploadID, in(upload.Complete))
	es := r.events(t, uploadID)
	want := []string{
		"started", ">receiving", "staged", "receiving>queued", "done probe", "done cover", "queued>processing", "done transcode",
		"done seal", "processing>playable", "done seal", "done seal", "done seal", "done fingerprint", "playable>complete",
	}
	if diff := cmp.Diff(want, eventNames(t, es)); diff != "" {
		t.Error(diff)
	}
	last := uint64(0)
	for _, e := range es {
		if e.GetRevision() < last || e.GetUserId() != artistID {
			t.Errorf("event %v", e)
		}
		last = e.GetRevision()
	}
}

// TestHostile: what is no sound is refused with a sentence, and its track is told to have
// failed when there is one.
func TestHostile(t *testing.T) {
	w := newWorld(t)
	w.cfg.Workers = 2
	r := w.start(t)
	flac := makeAudio(t, "flac", 8, 5)
	for name, tt := range map[string]struct {
		bytes []byte
		code  string
	}{
		"playlist.mp3":   {[]byte("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10.0,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"), "not_audio"},
		"concat.flac":    {[]byte("ffconcat version 1.0\nfile '/etc/passwd'\n"), "not_audio"},
		"page.ogg":       {[]byte("<html><script>alert(1)</script></html>"), "not_audio"},
		"zip.mp3":        {append([]byte("PK\x03\x04"), make([]byte, 5000)...), "not_audio"},
		"zeros.wav":      {make([]byte, 100_000), "not_audio"},
		"one":            {[]byte{0xff}, "not_audio"},
		"truncated.flac": {flac[:len(flac)/2], "truncated"},
		"claims.flac":    {claims(flac), "too_long"},
		"no_samples.wav": {makeAudio(t, "wav", 1, 1)[:44], "not_audio"},
		"hours.flac":     {makeAudio(t, "flac", 90, 1, "-af", "volume=0"), "too_long"}, // the test's bound is a minute
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := r.until(t, r.send(t, artist(), name, tt.bytes), in(upload.Failed, upload.Complete))
			if u.State != upload.Failed || !strings.HasSuffix(u.Reason, ".") || strings.ContainsAny(u.Reason, "/\n") {
				t.Fatalf("%+v", u)
			}
			names := eventNames(t, r.events(t, u.ID))
			if !slices.Contains(names, "rejected "+tt.code) {
				t.Errorf("events %v", names)
			}
			if u.TrackID == "" {
				return
			}
			r.until(t, u.ID, func(u upload.Upload) bool { return u.Stage == upload.StageNone })
			w.others.mu.Lock()
			defer w.others.mu.Unlock()
			if w.others.failed[u.TrackID] != u.Reason {
				t.Errorf("the track is told to have failed with %q", w.others.failed[u.TrackID])
			}
		})
	}
}

// claims makes a FLAC file say that it has the most samples that its header can say.
func claims(flac []byte) []byte {
	out := slices.Clone(flac)
	total := out[8+13 : 8+18] // of STREAMINFO: the low half of a byte and four more
	total[0] |= 0x0f
	copy(total[1:], "\xff\xff\xff\xff")
	return out
}

// TestContentNotName: a FLAC file named otherwise is a FLAC file, and formats that only
// ffprobe knows come in as well.
func TestContentNotName(t *testing.T) {
	w := newWorld(t)
	r := w.start(t)
	for name, b := range map[string][]byte{
		"song.txt": makeAudio(t, "flac", 3, 6, "-metadata", "title=F"),
		"song.exe": makeAudio(t, "wv", 3, 7, "-metadata", "title=W", "-metadata", "artist=A"),
		"song":     makeAudio(t, "mp3", 3, 8, "-metadata", "title=M"),
	} {
		u := r.until(t, r.send(t, artist(), name, b), in(upload.Complete, upload.Failed))
		if u.State != upload.Complete || w.others.track(u.TrackID).GetTitle() == "" {
			t.Errorf("%s: %+v", name, u)
		}
	}
}

func TestRetry_BacksOffAndGivesUp(t *testing.T) {
	w := newWorld(t)
	w.cfg.MaxAttempts = 3
	w.noFP = true
	w.others.before = func(_ context.Context, call string) error {
		if strings.HasPrefix(call, "PutKey") {
			return connect.NewError(connect.CodeInternal, errors.New("playback is broken"))
		}
		return nil
	}
	r := w.start(t)
	uploadID := r.send(t, artist(), "x.flac", makeAudio(t, "flac", 3, 9))
	u := r.until(t, uploadID, in(upload.Failed))
	if u.Attempts != 3 || u.Step != "seal" || !strings.Contains(u.Reason, `"seal" failed 3 times`) {
		t.Errorf("%+v", u)
	}
	if n := w.others.count("SetTrackFacts"); n != 3 {
		t.Errorf("facts were told %d times", n)
	}
	names := eventNames(t, r.events(t, uploadID))
	transcodes := 0
	for _, n := range names {
		if n == "done transcode" {
			transcodes++
		}
	}
	if transcodes != 1 {
		t.Errorf("%d transcodes: encoded files were not used again", transcodes)
	}
	// Only the owner may try again; the dead letter then comes to its end.
	w.others.mu.Lock()
	w.others.before = nil
	w.others.mu.Unlock()
	if _, err := r.client(other()).RetryUpload(t.Context(), &uploadv1.RetryUploadRequest{Id: uploadID}); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("retry by another: %v", err)
	}
	res, err := r.client(artist()).RetryUpload(t.Context(), &uploadv1.RetryUploadRequest{Id: uploadID})
	if err != nil || res.GetUpload().GetState() != upload.Queued {
		t.Fatalf("retry: %v, %v", res, err)
	}
	r.until(t, uploadID, in(upload.Complete))
	if _, err := r.client(artist()).RetryUpload(t.Context(), &uploadv1.RetryUploadRequest{Id: uploadID}); err == nil {
		t.Error("a complete upload was tried again")
	}
}

func TestDuplicate_SameBytes(t *testing.T) {
	w := newWorld(t)
	r := w.start(t)
	song := makeAudio(t, "flac", 3, 10)
	first := r.until(t, r.send(t, artist(), "a.flac", song), in(upload.Complete))
	again := r.until(t, r.send(t, artist(), "b.flac", song), in(upload.Duplicate, upload.Complete))
	if again.State != upload.Duplicate || again.TrackID != first.TrackID {
		t.Errorf("%+v", again)
	}
	r.until(t, again.ID, func(u upload.Upload) bool { return !u.Staged })
	theirs := r.until(t, r.send(t, other(), "c.flac", song), in(upload.Duplicate, upload.Complete))
	if theirs.State != upload.Complete || theirs.TrackID == first.TrackID {
		t.Errorf("another owner's: %+v", theirs)
	}
	if diff := cmp.Diff([]string{first.TrackID}, theirs.Similar); diff != "" {
		t.Error(diff)
	}
	names := eventNames(t, r.events(t, theirs.ID))
	if !slices.Contains(names, "proposed equal=true") {
		t.Errorf("events %v", names)
	}
}

// TestDuplicate_AtTheSameTime: of two equal files that come together one yields.
func TestDuplicate_AtTheSameTime(t *testing.T) {
	w := newWorld(t)
	w.noFP = true
	song := makeAudio(t, "flac", 3, 11)
	idle := w.build(t)
	a, b := idle.send(t, artist(), "a.flac", song), idle.send(t, artist(), "b.flac", song)
	idle.stop()
	r := w.start(t)
	ua, ub := r.until(t, a, in(upload.Complete, upload.Duplicate)), r.until(t, b, in(upload.Complete, upload.Duplicate))
	if ua.State == ub.State || ub.TrackID != ua.TrackID {
		t.Errorf("%v and %v", ua.State, ub.State)
	}
}

// TestSimilar: another encoding of a recording is proposed, another recording is not.
func TestSimilar(t *testing.T) {
	w := newWorld(t)
	r := w.start(t)
	first := r.until(t, r.send(t, artist(), "a.flac", makeAudio(t, "flac", 20, 12)), in(upload.Complete))
	worse := r.until(t, r.send(t, other(), "a.mp3", makeAudio(t, "mp3", 20, 12, "-b:a", "96k")), in(upload.Complete))
	if diff := cmp.Diff([]string{first.TrackID}, worse.Similar); diff != "" {
		t.Error(diff)
	}
	if names := eventNames(t, r.events(t, worse.ID)); !slices.Contains(names, "proposed equal=false") {
		t.Errorf("events %v", names)
	}
	unlike := r.until(t, r.send(t, artist(), "b.flac", makeAudio(t, "flac", 20, 40)), in(upload.Complete))
	if len(unlike.Similar) > 0 {
		t.Errorf("another recording is similar to %v", unlike.Similar)
	}
}

// TestPrioritise: 96 kbit/s alone is made first, before what came earlier, and the rest
// when the queue comes to it.
func TestPrioritise(t *testing.T) {
	w := newWorld(t)
	w.noFP = true
	// Hold the one worker of the ordinary lane with the first upload.
	hold := make(chan struct{})
	held := make(chan struct{}, 100)
	var holding string
	w.others.before = func(ctx context.Context, call string) error {
		if call != "SetTrackFacts "+holding {
			return nil
		}
		held <- struct{}{}
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return nil
	}
	r := w.build(t)
	first := r.send(t, artist(), "1.flac", makeAudio(t, "flac", 3, 13))
	holding = upload.TrackOf(first)
	r.stop()
	r = w.start(t)
	<-held
	second, third := r.send(t, artist(), "2.flac", makeAudio(t, "flac", 3, 14)), r.send(t, artist(), "3.flac", makeAudio(t, "flac", 3, 15))
	waiting := func(u upload.Upload) bool { return u.Stage == upload.StageAudio && u.Lease == "" }
	r.until(t, second, waiting)
	u := r.until(t, third, waiting)
	prioritise := func(who identity.Identity, track string) error {
		c := uploadv1connect.NewPrioritiseServiceClient(r.server.As(who), rpctest.URL)
		_, err := c.Prioritise(t.Context(), &uploadv1.PrioritiseRequest{TrackId: track})
		return err
	}
	if err := prioritise(admin(), u.TrackID); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("from outside: %v", err)
	}
	playback := identity.Identity{Target: "playback"}
	if err := prioritise(playback, upload.TrackOf("none")); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("an unknown track: %v", err)
	}
	if err := prioritise(playback, u.TrackID); err != nil {
		t.Fatal(err)
	}
	r.until(t, third, in(upload.Playable))
	if x := w.others.track(u.TrackID).GetRenditions(); len(x) != 1 || x[0].GetKbps() != 96 {
		t.Errorf("renditions %v", x)
	}
	if u := r.until(t, second, func(upload.Upload) bool { return true }); u.State != upload.Queued {
		t.Errorf("the second is %v", u.State)
	}
	if err := prioritise(playback, u.TrackID); err != nil {
		t.Errorf("a track that plays: %v", err)
	}
	close(hold)
	for _, id := range []string{first, second, third} {
		r.until(t, id, in(upload.Complete))
	}
}

func TestRPC_Visibility(t *testing.T) {
	r := idle(t, nil)
	mine := path.Base(r.create(t, artist(), "mine", 8).Header.Get("Location"))
	theirs := path.Base(r.create(t, other(), "theirs", 8).Header.Get("Location"))
	list := func(who identity.Identity) (out []string) {
		res, err := r.client(who).ListUploads(t.Context(), &uploadv1.ListUploadsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range res.GetUploads() {
			out = append(out, u.GetId())
		}
		return out
	}
	if diff := cmp.Diff([]string{mine}, list(artist())); diff != "" {
		t.Error(diff)
	}
	// Both may have come within one millisecond, and then their order is that of their ids.
	if diff := cmp.Diff([]string{theirs, mine}, list(admin()), cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Error(diff)
	}
	if _, err := r.client(artist()).GetUpload(t.Context(), &uploadv1.GetUploadRequest{Id: theirs}); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("another's: %v", err)
	}
	if _, err := r.client(admin()).GetUpload(t.Context(), &uploadv1.GetUploadRequest{Id: theirs}); err != nil {
		t.Errorf("an admin: %v", err)
	}
	listener := as(artistID, authv1.Role_ROLE_LISTENER)
	if _, err := r.client(listener).ListUploads(t.Context(), &uploadv1.ListUploadsRequest{}); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("a listener: %v", err)
	}
	if _, err := r.client(artist()).GetIngestStatus(t.Context(), &uploadv1.GetIngestStatusRequest{}); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("status for an artist: %v", err)
	}
	if res, err := r.client(admin()).GetIngestStatus(t.Context(), &uploadv1.GetIngestStatusRequest{}); err != nil || res.GetTotal() != 2 {
		t.Errorf("status: %v, %v", res, err)
	}
}

func TestWatchUploads(t *testing.T) {
	w := newWorld(t)
	w.noFP = true
	r := w.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	song := makeAudio(t, "flac", 5, 16)
	at := r.create(t, artist(), "x.flac", len(song)).Header.Get("Location")
	named, err := r.client(artist()).WatchUploads(ctx, &uploadv1.WatchUploadsRequest{Ids: []string{path.Base(at)}})
	if err != nil {
		t.Fatal(err)
	}
	defer named.Close()
	if !named.Receive() || named.Msg().GetUpload().GetState() != upload.Receiving {
		t.Fatalf("first: %v, %v", named.Msg(), named.Err())
	}
	foreign, err := r.client(other()).WatchUploads(ctx, &uploadv1.WatchUploadsRequest{Ids: []string{path.Base(at)}})
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	all, err := r.client(artist()).WatchUploads(ctx, &uploadv1.WatchUploadsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	r.patch(t, artist(), at, 0, song)
	follow := func(s *connect.ServerStreamForClient[uploadv1.WatchUploadsResponse]) {
		last := uint32(0)
		for s.Receive() {
			u := s.Msg().GetUpload()
			if u.GetProgressMilli() < last {
				t.Errorf("progress went back from %d to %d", last, u.GetProgressMilli())
			}
			if last = u.GetProgressMilli(); u.GetState() == upload.Complete {
				return
			}
		}
		t.Errorf("stream ended: %v", s.Err())
	}
	follow(named)
	follow(all)
	r.stop() // ends the streams
	if foreign.Receive() {
		t.Errorf("another's upload is seen: %v", foreign.Msg())
	}
}

// TestRetry_OutageIsNotTheFilesFault: a service that is away for longer than a step has
// attempts ends no job.
func TestRetry_OutageIsNotTheFilesFault(t *testing.T) {
	w := newWorld(t)
	w.cfg.MaxAttempts, w.noFP = 1, true
	away := 5
	w.others.before = func(_ context.Context, call string) error {
		w.others.mu.Lock()
		defer w.others.mu.Unlock()
		if strings.HasPrefix(call, "PutKey") && away > 0 {
			away--
			return connect.NewError(connect.CodeUnavailable, errors.New("playback is away"))
		}
		return nil
	}
	r := w.start(t)
	u := r.until(t, r.send(t, artist(), "x.flac", makeAudio(t, "flac", 3, 51)), in(upload.Complete, upload.Failed))
	if u.State != upload.Complete {
		t.Errorf("%+v", u)
	}
}
