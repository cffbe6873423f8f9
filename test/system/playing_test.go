//go:build system

package system

import (
	"bytes"
	"errors"
	"os"
	"time"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/wire"
)

// fencing: a listener has two devices and one player. When the second one becomes
// active, the first one's stream ends.
func fencing(d *deployment) {
	admin := d.admin()
	track := d.shared("Long one").ID
	first := d.listener(admin, "emil")
	second := d.signIn("emil", personPass)
	first.activate(track)
	one := first.open(false)
	ended := one.hold(track)

	state := second.activate(track)
	if state.GetActiveDeviceId() != second.Device || state.GetActiveEpoch() == 0 {
		d.Errorf("after the activation: %v", state)
	}
	if err := d.ends(ended, 10*time.Second); !errors.Is(err, &wire.Error{Code: wire.PlayingElsewhere}) {
		d.Errorf("the first device's stream ended with %v", err)
	}
	// A fresh ticket does not help the first one.
	if _, err := first.Sessions.RenewTicket(d.Context(), &playbackv1.RenewTicketRequest{SessionId: one.id}); err != nil {
		d.Fatal(err)
	}
	if _, _, _, err := one.sound(track, wire.Kbps24); !errors.Is(err, &wire.Error{Code: wire.PlayingElsewhere}) {
		d.Errorf("the first device plays again: %v", err)
	}
	if _, _, _, err := second.open(false).sound(track, wire.Kbps24); err != nil {
		d.Errorf("the second device: %v", err)
	}
}

// fallback: where UDP leads nowhere the same sound comes by POST, to the byte.
func fallback(d *deployment) {
	admin := d.admin()
	track := d.shared("Long one").ID
	finn := d.listener(admin, "finn")
	finn.activate(track)
	ogg, samples, stats, err := finn.open(false).sound(track, wire.Kbps160)
	if err != nil || stats.Transport == client.TransportFallback || samples == 0 {
		d.Fatalf("by QUIC: %d samples, %+v, %v", samples, stats, err)
	}
	again, n, stats, err := finn.open(true).sound(track, wire.Kbps160)
	if err != nil || stats.Transport != client.TransportFallback || n != samples {
		d.Fatalf("by the fallback: %d samples of %d, %+v, %v", n, samples, stats, err)
	}
	if !bytes.Equal(ogg, again) {
		d.Error("the sound that came by the fallback is another")
	}
}

// prioritise: the only worker is busy, and two files wait. Who plays the last of them
// hears it first, of 96 kbit/s.
func prioritise(d *deployment) {
	admin := d.admin()
	admin.activate(d.shared("Long one").ID)
	content := func(name string, seconds, seed int) []byte {
		b, err := os.ReadFile(d.noise(name, seconds, seed, tags(name, "Queue")...))
		if err != nil {
			d.Fatal(err)
		}
		return b
	}
	files := [][]byte{content("busy.flac", 100, 41), content("waits.flac", 15, 42), content("wanted.flac", 8, 43)}
	busy := admin.sent("busy.flac", files[0])
	admin.reaches(busy, uploadv1.UploadState_UPLOAD_STATE_PROCESSING)
	waits, wanted := admin.sent("waits.flac", files[1]), admin.sent("wanted.flac", files[2])
	var track string
	d.until(20*time.Second, "the track's id", func() error {
		if track = admin.upload(wanted).GetTrackId(); track == "" {
			return errors.New("none yet")
		}
		return nil
	})
	session := admin.open(false)
	refused := false
	d.until(60*time.Second, "the sound of a track that waited", func() error {
		_, _, _, err := session.sound(track, wire.Auto)
		refused = refused || err != nil
		return err
	})
	if !refused {
		d.Error("the track played at once: nothing was tested")
	}
	if u := admin.upload(waits); u.GetState() != uploadv1.UploadState_UPLOAD_STATE_QUEUED {
		d.Errorf("the file that came before is %s", u.GetState())
	}
	for _, id := range []string{wanted, waits, busy} {
		admin.reaches(id, uploadv1.UploadState_UPLOAD_STATE_COMPLETE)
	}
	d.until(15*time.Second, "four renditions", func() error {
		got := d.events(admin, "RenditionPublished", "track:"+track)
		if len(got) != 4 {
			return errorf("%d events", len(got))
		}
		first, _ := got[0].Payload["rendition"].(map[string]any)
		if first["kbps"] != float64(96) {
			d.Errorf("published first: %v", first)
		}
		return nil
	})
	res, err := admin.Catalogue.GetTracks(d.Context(), &metadatav1.GetTracksRequest{Ids: []string{track}})
	if err != nil || res.GetTracks()[0].GetState() != metadatav1.TrackState_TRACK_STATE_COMPLETE {
		d.Errorf("in the end: %v %v", res, err)
	}
}
