package locallog_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
)

var (
	killsFlag = flag.Int("locallog.kills", 3, "how often TestKill kills its process")
	killSeed  = flag.Uint64("locallog.killseed", 1, "seed of the moments at which it does")
)

const (
	killDir       = "SEGUE_TEST_KILL_DIR"
	killProducers = 256
	killCall      = 2 // records of one Append
)

// killed is what the outside knows of the log of a process that is killed again and again.
type killed struct {
	dir       string
	acked     [killProducers]int // records of each producer that it was told of, or that were read
	total     int                // records acknowledged
	committed int64              // offset that the consumer was told of
}

// TestKill kills a process of its own, with SIGKILL at random moments, that appends from
// many producers, consumes, and begins segments all the time. Each producer writes
// numbers in a row under a key of its own, two to a call, and goes on after the
// acknowledgement, so its records are a row without a hole: all that were acknowledged and
// at most those of one call more in every life.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		appendForever(t, dir)
		return
	}
	k := &killed{dir: t.TempDir()}
	rng := rand.New(rand.NewPCG(*killSeed, 1))
	stored := 0
	for range *killsFlag {
		k.live(t, time.Duration(50+rng.IntN(450))*time.Millisecond)
		stored = k.check(t)
	}
	t.Logf("%d kills, %d records acknowledged, 0 lost, 0 doubled; %d written that nobody was told of", *killsFlag, k.total, stored-k.total)
}

// live starts the process and kills it some time after its first acknowledgement.
func (k *killed) live(t *testing.T, after time.Duration) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), killDir+"="+k.dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var killer *time.Timer
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var p, n int
		var next int64
		if _, err := fmt.Sscanf(lines.Text(), "acked %d %d", &p, &n); err == nil {
			k.acked[p] = n + 1
			k.total += killCall
		} else if _, err := fmt.Sscanf(lines.Text(), "committed %d", &next); err == nil {
			k.committed = next
		} else {
			said = append(said, lines.Text())
		}
		if killer == nil && len(said) == 0 {
			killer = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
	}
	err = cmd.Wait()
	if killer == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the process ended by itself: %v\n%s", err, strings.Join(said, "\n"))
	}
}

// check reads all and returns how many records there are.
func (k *killed) check(t *testing.T) (stored int) {
	t.Helper()
	l, err := locallog.Open(k.dir, locallog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var have [killProducers]int
	for r, err := range l.Read(t.Context(), event.Upload, 0, 0, false) {
		if err != nil {
			t.Fatal(err)
		}
		var p int
		if _, err := fmt.Sscanf(string(r.Key), "p%d", &p); err != nil || p >= killProducers {
			t.Fatalf("key %q was never appended", r.Key)
		}
		if string(r.Value) != killValue(p, have[p]) {
			t.Fatalf("record %d of producer %d is %.60q", have[p], p, r.Value)
		}
		have[p]++
		stored++
	}
	for p, n := range have {
		if n < k.acked[p] || n > k.acked[p]+killCall {
			t.Fatalf("producer %d was told of %d records, %d are there", p, k.acked[p], n)
		}
	}
	k.acked = have
	at, err := l.Committed(t.Context(), "g", event.Upload, 0)
	if err != nil || at < k.committed || at > int64(stored) {
		t.Fatalf("committed offset is %d, %v; the consumer was told of %d, %d are there", at, err, k.committed, stored)
	}
	return stored
}

// killValue is of another length for each record and tells when it is torn.
func killValue(p, n int) string {
	return strings.Repeat(fmt.Sprintf("%d/%d;", p, n), 1+(p+n)%40)
}

func appendForever(t *testing.T, dir string) {
	l := open(t, dir, locallog.Options{SegmentBytes: 256 << 10})
	var next [killProducers]int
	for r, err := range l.Read(t.Context(), event.Upload, 0, 0, false) {
		var p int
		if err == nil {
			_, err = fmt.Sscanf(string(r.Key), "p%d", &p)
		}
		if err != nil {
			t.Fatal(err)
		}
		next[p]++
	}
	var wg sync.WaitGroup
	for p := range killProducers {
		wg.Go(func() {
			for n := next[p]; ; n += killCall {
				recs := make([]event.Record, killCall)
				for i := range recs {
					recs[i] = event.Record{Topic: event.Upload, Key: fmt.Appendf(nil, "p%d", p), Value: []byte(killValue(p, n+i))}
				}
				if err := l.Append(t.Context(), recs...); err != nil {
					t.Error(err)
					return
				}
				fmt.Printf("acked %d %d\n", p, n+killCall-1) // one write, so never half
			}
		})
	}
	wg.Go(func() {
		err := l.Consume(t.Context(), "g", []string{event.Upload}, func(ctx context.Context, r event.Record) error {
			if r.Offset%100 != 0 {
				return nil
			}
			next := r.Offset + 1
			if err := l.Commit(ctx, "g", event.Upload, 0, next); err != nil {
				return err
			}
			fmt.Printf("committed %d\n", next)
			return nil
		})
		t.Error(err)
	})
	wg.Wait()
}
