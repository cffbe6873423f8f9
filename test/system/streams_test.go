//go:build system

package system

import (
	"context"
	"os"
	"time"

	"connectrpc.com/connect"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
)

// prompt is what a message may take through the gateway on a loaded machine; none may
// wait for the stream to end or for a buffer to fill.
const prompt = 3 * time.Second

// streamsFlow watches uploads, the player and the events: each message comes when what it
// tells of happens, while the stream stays open.
func streamsFlow(d *deployment) {
	admin := d.admin()
	ctx, cancel := context.WithCancel(d.Context())
	defer cancel()
	uploads := watch(d, "uploads", func() (*connect.ServerStreamForClient[uploadv1.WatchUploadsResponse], error) {
		return admin.Uploads.WatchUploads(ctx, &uploadv1.WatchUploadsRequest{})
	}, func(m *uploadv1.WatchUploadsResponse) string { return m.GetUpload().GetFileName() })
	player := watch(d, "player", func() (*connect.ServerStreamForClient[playbackv1.WatchPlayerResponse], error) {
		return admin.Player.WatchPlayer(ctx, &playbackv1.WatchPlayerRequest{})
	}, func(m *playbackv1.WatchPlayerResponse) string { return m.GetState().GetActiveDeviceId() })
	filter := &warehousev1.Filter{Types: []string{"PlayerStateChanged", "UploadStarted"}}
	tail := watch(d, "events", func() (*connect.ServerStreamForClient[warehousev1.TailEventsResponse], error) {
		return admin.Audit.TailEvents(ctx, &warehousev1.TailEventsRequest{Filter: filter})
	}, func(m *warehousev1.TailEventsResponse) string { return m.GetEvent().GetEnvelope().GetType() })

	admin.activate(d.shared("Long one").ID)
	d.comes(player, "player", admin.Device)
	d.comes(tail, "events", "PlayerStateChanged")
	content, err := os.ReadFile(d.noise("watched.flac", 2, 31, tags("Watched", "Streams")...))
	if err != nil {
		d.Fatal(err)
	}
	id := admin.sent("flows.flac", content)
	d.comes(uploads, "uploads", "flows.flac")
	d.comes(tail, "events", "UploadStarted")
	admin.reaches(id, uploadv1.UploadState_UPLOAD_STATE_COMPLETE)
	d.ingestStatus(admin)
}

func (d *deployment) ingestStatus(admin *person) {
	d.Helper()
	n, err := admin.Uploads.GetIngestStatus(d.Context(), &uploadv1.GetIngestStatusRequest{})
	if err != nil || n.GetTotal() == 0 || n.GetComplete() == 0 || n.GetScanning() {
		d.Errorf("ingest status: %v %v", n, err)
	}
	list, err := admin.Uploads.ListUploads(d.Context(), &uploadv1.ListUploadsRequest{PageSize: 200, State: uploadv1.UploadState_UPLOAD_STATE_COMPLETE})
	if err != nil || uint64(len(list.GetUploads())) != n.GetComplete() {
		d.Errorf("%d complete uploads listed, %d counted: %v", len(list.GetUploads()), n.GetComplete(), err)
	}
}

// watch opens a stream, which has to begin at once, and hands over what name makes of its
// messages.
func watch[M any](d *deployment, what string, open func() (*connect.ServerStreamForClient[M], error), name func(*M) string) <-chan string {
	d.Helper()
	began := time.Now()
	stream, err := open()
	if err != nil {
		d.Fatalf("watch %s: %v", what, err)
	}
	if took := time.Since(began); took > prompt {
		d.Errorf("watch %s: the answer began after %s", what, took)
	}
	out := make(chan string, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for stream.Receive() {
			out <- name(stream.Msg())
		}
	}()
	d.Cleanup(func() {
		_ = stream.Close()
		<-done
	})
	return out
}

// comes waits for a message.
func (d *deployment) comes(from <-chan string, what, want string) {
	d.Helper()
	limit := time.After(prompt)
	for {
		select {
		case got := <-from:
			if got == want {
				return
			}
		case <-limit:
			d.Fatalf("watch %s: %s has not come after %s", what, want, prompt)
		}
	}
}
