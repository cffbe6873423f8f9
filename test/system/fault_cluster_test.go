//go:build system && fault

package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	chartsv1 "github.com/segue-music/segue/gen/segue/charts/v1"
	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/wire"
	clusters "github.com/segue-music/segue/test/cluster"
	"github.com/segue-music/segue/test/proc"
)

// killed is one process that was killed, and how long it was until its service answered
// again and until the process itself was back.
type killed struct {
	name         string
	usual        time.Duration // of an answer before it was killed
	serves, back time.Duration
	why          string // the last reason why it did not answer
}

// TestFault_KillService kills the processes of a cluster on real engines one at a time by
// SIGKILL, every service in turn, while clients write through the gateways, and starts each
// again as a supervisor does. In the end everything that was acknowledged is there once: by
// the API, in Kafka and in the lake.
//
// -fault.full kills 25 times under at least 100,000 acknowledged writes.
func TestFault_KillService(t *testing.T) {
	if enginesFolder == "" {
		t.Skip("one process per service stands on the real engines: make fault has them")
	}
	rounds := killOrder(rand.New(rand.NewPCG(9, 25)), scaled(len(targets), 25))
	writes := int64(scaled(6_000, 100_000))
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 64
	// An hour that ends meanwhile stays as it was written, so that files are counted simply.
	d := cluster(t, append([]string{"-warehouse.compact-every=0"}, unlimited...)...)
	d.login()
	admin := d.admin()
	l := newLedger(d)
	look := d.probes(d.listener(admin, "looks"), admin, l.track)

	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	defer stop()
	for _, w := range l.writers(d, admin) {
		clients.Go(func() { w.run(ctx) })
	}
	moments := rand.New(rand.NewPCG(9, 26))
	var all []killed
	for n, one := range rounds {
		d.until(20*time.Minute, "writes before the kill", func() error {
			if t.Failed() {
				return nil
			}
			if got, want := l.total(), writes*int64(n+1)/int64(len(rounds)); got < want {
				return errorf("%d of %d", got, want)
			}
			return nil
		})
		if t.Failed() {
			break
		}
		wait(t.Context(), time.Duration(moments.IntN(1000))*time.Millisecond)
		k := d.killService(one, look[one.Target])
		t.Logf("%2d: %-10s answers again after %6s (before in %s), is back after %6s; %6d acknowledged, %d repeated; %s", n+1, k.name,
			k.serves.Round(time.Millisecond), k.usual.Round(time.Millisecond), k.back.Round(time.Millisecond), l.total(), l.again.Load(), proc.Load())
		if k.serves > k.back+time.Second {
			t.Logf("    it was back and did not answer: %s", k.why)
		}
		all = append(all, k)
	}
	l.end(stop, &clients)
	want := l.told()
	for _, p := range []*person{admin, look["user"].person} {
		if err := p.renew(); err != nil {
			t.Fatalf("a sign-in did not survive: %v", err)
		}
	}
	l.verifyState(admin, want)
	l.settled(admin)
	again := l.everywhere(admin, want)
	d.noPanics()
	t.Logf("%d kills, %d acknowledged writes (%s), %d repeated without an answer, lost %d, doubled %d; %d records were published again with their id",
		len(all), l.total(), l.kinds(), l.again.Load(), l.lost.Load(), l.doubled.Load(), again)
	judge(t, all)
}

// killOrder is who is killed: all targets in a random order, then all again, and of two
// instances the other one than the time before.
func killOrder(r *rand.Rand, n int) (out []clusters.Process) {
	for turn := 0; len(out) < n; turn++ {
		list := slices.Clone(targets)
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		for _, target := range list {
			out = append(out, clusters.Process{Target: target, Number: turn % clusters.Instances(target)})
		}
	}
	return out[:n]
}

// killService kills one process and starts it again. Its service serves again with the
// first of several answers in a row.
func (d *deployment) killService(one clusters.Process, look probe) killed {
	d.Helper()
	p := d.all(one.Target)[one.Number]
	k := killed{name: one.Name()}
	call := func() (time.Time, error) {
		ctx, cancel := context.WithTimeout(d.Context(), 15*time.Second)
		defer cancel()
		err := look.call(ctx)
		if look.person.renewIfStale(err) {
			err = look.call(ctx)
		}
		return time.Now(), err
	}
	d.until(time.Minute, one.Name()+" to answer", func() error {
		began := time.Now()
		ended, err := call()
		k.usual = ended.Sub(began)
		return err
	})
	at := time.Now()
	if err := p.cmd.Process.Kill(); err != nil {
		d.Fatal(err)
	}
	_ = p.cmd.Wait() // killed: it says so
	d.again(p)
	back := make(chan time.Duration, 1)
	go func() {
		for d.Context().Err() == nil {
			if _, err := os.Stat(p.ready); err == nil {
				break
			}
			wait(d.Context(), 5*time.Millisecond)
		}
		back <- time.Since(at)
	}()
	const row = 3
	good := 0
	d.until(2*time.Minute, one.Name()+" to serve again", func() error {
		for good < row {
			// Where it listens has changed, where it has no port of its own.
			if b, err := os.ReadFile(p.ready); err == nil {
				_ = json.Unmarshal(b, &p.addr) // again with the next try
			}
			ended, err := call()
			if err != nil {
				good, k.why = 0, err.Error()
				return err
			}
			if good++; good == 1 {
				k.serves = ended.Sub(at)
			}
		}
		return nil
	})
	d.await(p)
	k.back = <-back
	return k
}

// judge tells how long each service was away. A machine that has less to give than the
// cluster asks for makes times longer: there they are told and not judged.
func judge(t *testing.T, all []killed) {
	t.Helper()
	var load float64
	text, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		_, err = fmt.Sscan(string(text), &load)
	}
	busy := err != nil || load > float64(2*runtime.NumCPU())
	byTarget := map[string][]killed{}
	for _, k := range all {
		target, _, _ := strings.Cut(k.name, "-")
		byTarget[target] = append(byTarget[target], k)
		if k.serves > 5*time.Second && !busy {
			t.Errorf("%s answers again only after %s", k.name, k.serves)
		}
	}
	for _, target := range slices.Sorted(maps.Keys(byTarget)) {
		var serves, back []time.Duration
		for _, k := range byTarget[target] {
			serves, back = append(serves, k.serves), append(back, k.back)
		}
		median, most := medianMax(serves)
		_, whole := medianMax(back)
		t.Logf("%-9s killed %d times: answers again after %s, at most %s; the process itself is back after at most %s", target, len(serves), median, most, whole)
	}
	t.Logf("%s, busy with more than it has: %v", proc.Machine(), busy)
}

// noPanics reads the logs.
func (d *deployment) noPanics() {
	d.Helper()
	for _, p := range d.procs {
		log, err := os.ReadFile(p.log)
		if err != nil || strings.Contains(string(log), "panic") {
			d.Errorf("the log of %v tells of a panic: %v", p.args[:1], err)
		}
	}
}

// probe is a call that a service has to answer, as an app makes it.
type probe struct {
	person *person
	call   func(context.Context) error
}

// renewIfStale renews the access token where it was what the call failed by.
func (p *person) renewIfStale(err error) bool {
	return connect.CodeOf(err) == connect.CodeUnauthenticated && p.renew() == nil
}

// probes have one for each target.
func (d *deployment) probes(p, admin *person, track string) map[string]probe {
	n := 0
	one := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return map[string]probe{
		"gateway": {p, func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.URL+"/", http.NoBody)
			if err != nil {
				return err
			}
			res, err := one.Do(req)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, res.Body)
			if res.StatusCode != http.StatusOK {
				err = errors.New(res.Status)
			}
			return errors.Join(err, res.Body.Close())
		}},
		"user": {p, func(ctx context.Context) error {
			_, err := p.Accounts.GetMe(ctx, &userv1.GetMeRequest{})
			return err
		}},
		"metadata": {p, func(ctx context.Context) error {
			_, err := p.Catalogue.ListAlbums(ctx, &metadatav1.ListAlbumsRequest{PageSize: 1})
			return err
		}},
		"playback": {p, func(ctx context.Context) error {
			_, err := p.Player.GetPlayer(ctx, &playbackv1.GetPlayerRequest{})
			return err
		}},
		"upload": {admin, func(ctx context.Context) error {
			_, err := admin.Uploads.ListUploads(ctx, &uploadv1.ListUploadsRequest{PageSize: 1})
			return err
		}},
		"warehouse": {admin, func(ctx context.Context) error {
			stream, err := admin.Audit.SearchEvents(ctx, &warehousev1.SearchEventsRequest{
				Filter: &warehousev1.Filter{Topics: []string{"user-identity-events"}, Subject: "user:" + p.ID}, Limit: 1,
			})
			if err != nil {
				return err
			}
			found := stream.Receive()
			err = errors.Join(stream.Err(), stream.Close())
			if err == nil && !found {
				err = errors.New("it does not find an account")
			}
			return err
		}},
		"charts": {p, func(ctx context.Context) error {
			_, err := p.Charts.GetChart(ctx, &chartsv1.GetChartRequest{Period: chartsv1.Period_PERIOD_HOUR})
			return err
		}},
		"collect": {p, func(ctx context.Context) error {
			n++
			_, err := p.Collect.SendEvents(ctx, &collectv1.SendEventsRequest{DeviceId: p.Device, Events: []*collectv1.ClientEvent{{
				Id: fmt.Sprint("look-", n), ClientUnixMs: time.Now().UnixMilli(),
				Payload: &collectv1.ClientEvent_Diagnostic{Diagnostic: &eventv1.ClientDiagnostic{Name: "fault.look"}},
			}}})
			return err
		}},
		"edge": {p, func(ctx context.Context) error {
			s, err := p.tryOpen(false, nil)
			if err != nil {
				return err
			}
			defer s.Close()
			// Who is not there does not say so by QUIC.
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			st, err := s.Play(ctx, client.Request{Track: trackID(d, track), Quality: wire.Kbps96})
			if err != nil {
				return err
			}
			defer st.Close()
			_, err = st.Next()
			return err
		}},
	}
}
