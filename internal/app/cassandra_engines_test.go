//go:build engines

package app

import (
	"bytes"
	"strings"
	"testing"
	"time"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/internal/testengine"
)

// TestCassandra: who serves from a ring that was not migrated stops and says what to do;
// after that a whole system has its players there.
func TestCassandra(t *testing.T) {
	ring := []string{"-cassandra.hosts=" + testengine.Cassandra(t).Host, "-cassandra.replication=datacenter1:1", "-cassandra.timeout=20s"}
	main := func(args ...string) (code int, out string) {
		var b bytes.Buffer
		code = Main("test", append(append(args, "-data="+t.TempDir()), ring...), nil, &b, &b)
		return code, b.String()
	}
	code, out := main("-target=playback", "-rpc.listen=127.0.0.1:0")
	last := out[strings.LastIndex(strings.TrimRight(out, "\n"), "\n")+1:]
	if code != 1 || !strings.Contains(last, "segue_playback") || !strings.Contains(last, "-target=migrate") {
		t.Fatalf("without a schema: status %d\n%s", code, out)
	}
	if code, out := main("-target=migrate"); code != 0 {
		t.Fatalf("migrate: status %d\n%s", code, out)
	}
	d := &device{base: startWhole(t, time.Now, ring...)}
	if err := d.signIn(); err != nil {
		t.Fatalf("sign in: %v", err)
	}
	players := playbackv1connect.NewPlayerServiceClient(d, d.base)
	for want := uint64(1); want <= 2; want++ {
		now, err := players.GetPlayer(t.Context(), &playbackv1.GetPlayerRequest{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := players.UpdatePlayer(t.Context(), &playbackv1.UpdatePlayerRequest{
			Revision: now.GetState().GetRevision(), DeviceId: "0000000000000000000001", State: &playbackv1.PlayerState{VolumeMilli: 300},
		})
		if err != nil || got.GetState().GetRevision() != want {
			t.Fatalf("change %d of a player: %v, %v", want, got, err)
		}
	}
}
