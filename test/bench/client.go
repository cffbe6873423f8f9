package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	"github.com/segue-music/segue/test/person"
	"github.com/segue-music/segue/test/proc"
	"github.com/segue-music/segue/test/seed"
)

// result is what one case came to.
type result struct {
	Phase string
	Link  string
	Name  string
	// Millis are the measured times, CPU what the server used for one start.
	Millis []float64
	CPU    float64
	Note   string
}

// child is the main of the children that measure.
func child(ctx context.Context, role, text string) error {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return fmt.Errorf("read spec: %w", err)
	}
	var found any
	var err error
	switch role {
	case "prepare":
		found, err = prepare(ctx, &s)
	case "seed":
		found, err = fill(ctx, &s)
	case "native":
		found, err = measureNative(ctx, &s)
	case "http":
		found, err = measureHTTP(ctx, &s)
	}
	// What was found counts also where one of the cases has failed.
	if e := json.NewEncoder(os.Stdout).Encode(found); e != nil {
		err = errors.Join(err, fmt.Errorf("write what was found: %w", e))
	}
	return err
}

// prepare waits until all music is taken in and every encoding of it can be played.
func prepare(ctx context.Context, s *spec) ([]track, error) {
	config, err := person.Trusting(s.CA)
	if err != nil {
		return nil, err
	}
	web := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	admin, err := person.SignIn(ctx, web, s.Segue, "admin", s.Password)
	if err != nil {
		return nil, err
	}
	catalogue := metadatav1connect.NewCatalogueServiceClient(admin.Client(web), s.Segue)
	dirs, err := os.ReadDir(s.Media)
	if err != nil {
		return nil, fmt.Errorf("read music: %w", err)
	}
	var tracks []track
	err = proc.Until(ctx, 8*time.Minute, func() error {
		list, err := catalogue.ListTracks(ctx, &metadatav1.ListTracksRequest{PageSize: 200})
		if err != nil {
			return fmt.Errorf("list tracks: %w", err)
		}
		tracks = nil
		for _, t := range list.GetTracks() {
			i, err := strconv.Atoi(strings.TrimPrefix(t.GetTitle(), "Bench "))
			if err == nil && t.GetState() == metadatav1.TrackState_TRACK_STATE_COMPLETE {
				tracks = append(tracks, track{ID: t.GetId(), Peer: i, Album: t.GetAlbumId()})
			}
		}
		if len(tracks) < len(dirs) {
			return fmt.Errorf("%d of %d tracks are complete", len(tracks), len(dirs))
		}
		return nil
	})
	return tracks, err
}

// withSound of the catalogue's tracks can be played; the others are listed only.
const withSound = 200

// fill makes the catalogue a large one.
func fill(ctx context.Context, s *spec) ([]string, error) {
	made, err := seed.Catalogue(ctx, seed.Options{
		RPC: s.RPC, Secrets: s.Data + "-secrets", Data: s.Data, Music: s.Music, Tracks: s.Catalogue, WithSound: min(withSound, s.Catalogue), Seconds: trackSeconds, Say: say,
	})
	if err != nil {
		return nil, fmt.Errorf("fill the catalogue: %w", err)
	}
	var ids []string
	for _, t := range made.WithSound() {
		ids = append(ids, t.ID)
	}
	return ids, nil
}

// meter is what the cases share: the spec, the wire's counters and the server's clock.
type meter struct {
	*spec
	pid int
}

func (m *meter) any() track { return m.Tracks[rand.IntN(len(m.Tracks))] } //nolint:gosec // a draw for a test

// anySound is a random track of the large catalogue, or one of the few where it is small.
func (m *meter) anySound() string {
	if len(m.Sound) == 0 {
		return m.any().ID
	}
	return m.Sound[rand.IntN(len(m.Sound))] //nolint:gosec // as above
}

// wanted reports whether a case is to be measured.
func (m *meter) wanted(name string) bool {
	return strings.Contains(name, m.Only) && (len(m.Cases) == 0 || slices.Contains(m.Cases, name))
}

// measure repeats one start. Between two the wire is silent, so that none finds in the
// queue what the one before left.
func (m *meter) measure(ctx context.Context, name string, start func() (time.Duration, func(), error)) (result, error) {
	return m.measureNoted(ctx, name, func() (time.Duration, string, func(), error) {
		d, end, err := start()
		return d, "", end, err
	})
}

// measureNoted also counts what is said of each start.
func (m *meter) measureNoted(ctx context.Context, name string, start func() (d time.Duration, said string, end func(), err error)) (result, error) {
	say("%s", name)
	r := result{Name: name}
	counts := map[string]int{}
	if err := m.silent(ctx); err != nil {
		return r, err
	}
	before := proc.CPU(m.pid)
	for range m.N {
		d, said, end, err := start()
		if err == nil && end != nil {
			end()
		}
		if err != nil {
			return r, fmt.Errorf("%s: %w", name, err)
		}
		r.Millis = append(r.Millis, float64(d)/float64(time.Millisecond))
		if said != "" {
			counts[said]++
		}
		if err := m.silent(ctx); err != nil {
			return r, err
		}
	}
	r.CPU = (proc.CPU(m.pid) - before).Seconds() / float64(m.N)
	for said, n := range counts {
		r.Note += fmt.Sprintf("%s%d of %d: %s", strings.Repeat("; ", min(len(r.Note), 1)), n, m.N, said)
	}
	return r, nil
}

// silent waits until nothing has come over the wire for more than a round trip.
func (m *meter) silent(ctx context.Context) error {
	const quiet = 150 * time.Millisecond
	last, since := uint64(0), time.Now()
	limit := time.Now().Add(20 * time.Second)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := m.received().packets
		switch {
		case n != last:
			last, since = n, time.Now()
		case time.Since(since) > quiet+time.Duration(m.RTTMillis*float64(time.Millisecond)):
			return nil
		case time.Now().After(limit):
			return errors.New("the wire does not fall silent")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// traffic is what came over the wire.
type traffic struct{ bytes, packets uint64 }

// received reads the counters of the device.
func (m *meter) received() traffic {
	f, err := os.Open("/proc/self/net/dev")
	if err != nil {
		return traffic{}
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, rest, ok := strings.Cut(lines.Text(), ":")
		if fields := strings.Fields(rest); ok && strings.TrimSpace(name) == m.Device && len(fields) > 1 {
			b, _ := strconv.ParseUint(fields[0], 10, 64) // the kernel writes numbers
			p, _ := strconv.ParseUint(fields[1], 10, 64)
			return traffic{b, p}
		}
	}
	return traffic{}
}
