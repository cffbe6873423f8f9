package spool_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/spool"
)

var (
	killsFlag = flag.Int("spool.kills", 8, "how often TestKill kills its process")
	killSeed  = flag.Uint64("spool.killseed", 1, "seed of the moments at which it does")
)

const (
	killDir       = "SEGUE_TEST_SPOOL_DIR"
	killSeeds     = "SEGUE_TEST_SPOOL_SEEDS"
	killFrom      = "SEGUE_TEST_SPOOL_FROM"
	killProducers = 16
)

// killed is what the outside knows of a process that is killed again and again.
type killed struct {
	dir   string
	seeds []string
	acked [killProducers]int
	total int
}

// TestKill kills a process of its own, with SIGKILL at random moments, that appends while
// the cluster comes and goes: it dies while it spools, while it delivers, and between.
// Each producer goes on where its last acknowledgement was, as an outbox does, so every
// number is in the cluster, and first seen in order; some may be there again.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		appendForever(t, dir)
		return
	}
	f := newFake(t)
	k := &killed{dir: t.TempDir(), seeds: f.seeds}
	k.run(t, *killsFlag, f.away.Store)
}

// run kills so many times; away takes the cluster away and brings it back.
func (k *killed) run(t *testing.T, kills int, away func(bool)) {
	t.Helper()
	rng := rand.New(rand.NewPCG(*killSeed, 1))
	spooling := 0
	for i := range kills {
		// Two of four lives die while the cluster is away, one soon after it is back.
		away(i%4 == 1)
		k.live(t, func() {
			<-time.After(time.Duration(20+rng.IntN(200)) * time.Millisecond)
			if i%4 != 3 {
				away(i%4 != 1)
				<-time.After(time.Duration(20+rng.IntN(600)) * time.Millisecond)
			}
		})
		spooling += k.waiting(t)
	}
	away(false)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	l := open(t, k.dir, spool.Options{Connect: connect(k.seeds, "")})
	if err := settle(ctx, l); err != nil {
		t.Fatal(err)
	}
	doubles := 0
	got := stored(ctx, t, l)
	for p, acked := range k.acked {
		next := 0
		for _, n := range got[fmt.Sprintf("p%d", p)] {
			switch {
			case n == next:
				next++
			case n < next:
				doubles++
			default:
				t.Fatalf("producer %d: record %d comes before %d", p, n, next)
			}
		}
		if next < acked {
			t.Errorf("producer %d was told of %d records, %d are there", p, acked, next)
		}
	}
	if spooling == 0 {
		t.Error("no life died with events on the disk: the check shows nothing")
	}
	t.Logf("%d kills, %d records acknowledged, 0 lost; %d left on the disk by dead processes; %d there again with the same id", kills, k.total, spooling, doubles)
}

// waiting is how many events a dead process left.
func (k *killed) waiting(t *testing.T) int {
	t.Helper()
	l, err := spool.Open(t.Context(), k.dir, spool.Options{Connect: func(context.Context) (event.Log, error) { return nil, errAway }, Ask: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	n := figure(t, l, "segue_event_spool_events")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// live starts the process and kills it when until returns, after its first acknowledgement.
func (k *killed) live(t *testing.T, until func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), killDir+"="+k.dir, killSeeds+"="+strings.Join(k.seeds, ","), killFrom+"="+strings.Trim(fmt.Sprint(k.acked), "[]"))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	armed := false
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var p, n int
		if _, err := fmt.Sscanf(lines.Text(), "acked %d %d", &p, &n); err != nil {
			said = append(said, lines.Text())
			continue
		}
		k.total += n + 1 - k.acked[p]
		k.acked[p] = n + 1
		if !armed {
			armed = true
			go func() { until(); _ = cmd.Process.Kill() }()
		}
	}
	err = cmd.Wait()
	if !armed || cmd.ProcessState.Exited() {
		t.Fatalf("the process ended by itself: %v\n%s", err, strings.Join(said, "\n"))
	}
}

func appendForever(t *testing.T, dir string) {
	l, err := spool.Open(t.Context(), dir, spool.Options{
		Connect: connect(strings.Split(os.Getenv(killSeeds), ","), ""), Patience: 50 * time.Millisecond, Ask: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	var eg errgroup.Group
	for p, from := range strings.Fields(os.Getenv(killFrom)) {
		eg.Go(func() error {
			var n int
			if _, err := fmt.Sscan(from, &n); err != nil {
				return err
			}
			pace := time.NewTicker(2 * time.Millisecond)
			for ; ; n += 2 {
				key := fmt.Sprintf("p%d", p)
				if err := l.Append(t.Context(), record(key, n), record(key, n+1)); err != nil {
					return err
				}
				fmt.Printf("acked %d %d\n", p, n+1) // one write, so never half
				<-pace.C
			}
		})
	}
	t.Fatal(eg.Wait())
}
