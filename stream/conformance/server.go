package conformance

import (
	"bytes"
	"testing"

	"github.com/segue-music/segue/audio/ogg"
	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/wire"
)

// Server runs the suite against a server. open gives a fresh one, in good order.
func Server(t *testing.T, open func(t *testing.T) Fixture) {
	cases := []struct {
		name string
		run  func(*testing.T, *suite)
		// credits says that the case needs a stream on which the client can go on
		// talking.
		credits bool
	}{
		{"whole", whole, true},
		{"head", head, false},
		{"index_after_two_seconds", indexAfter, false},
		{"seek_exact", seekExact, false},
		{"quality_change", qualityChange, false},
		{"past_the_end", pastTheEnd, false},
		{"until", until, false},
		{"head_only", headOnly, false},
		{"credit_enforced", creditEnforced, true},
		{"credit_bounded", creditBounded, true},
		{"credit_nonsense", creditNonsense, true},
		{"garbage", garbage, false},
		{"finished_side", finishedSide, false},
		{"unknown_frames_skipped", unknownSkipped, false},
		{"malformed", malformed, false},
		{"malformed_later", malformedLater, true},
		{"refusals", refusals, false},
		{"playing_elsewhere", fenced(wire.PlayingElsewhere), true},
		{"revoked", fenced(wire.TicketInvalid), true},
		{"cancelled", cancelled, true},
		{"silent_streams", silentStreams, true},
		{"served_is_counted", servedCounted, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := open(t)
			if c.credits && f.OneRequest {
				return // the transport has no such thing
			}
			s := &suite{Fixture: f, streams: map[wire.Quality]*ogg.Stream{}}
			for q, b := range f.Plain {
				o, err := ogg.Split(bytes.NewReader(b))
				if err != nil {
					t.Fatal(err)
				}
				s.streams[q] = o
			}
			c.run(t, s)
		})
	}
}

type suite struct {
	Fixture
	streams map[wire.Quality]*ogg.Stream
}

func (s *suite) dial(t *testing.T) Conn {
	t.Helper()
	c := s.Dial(t)
	t.Cleanup(c.Close)
	return c
}

// play asks and reads to the end.
func (s *suite) play(t *testing.T, change func(*wire.Play)) *exchange {
	t.Helper()
	x := ask(t, &s.Fixture, s.dial(t), s.request(change).Append(nil))
	_ = x.st.Close() // the server may have answered and finished already
	return x.rest()
}

func whole(t *testing.T, s *suite) {
	x := ask(t, &s.Fixture, s.dial(t), s.request(nil).Append(nil))
	want := s.streams[wire.Kbps96]
	// Credit for 10 s more whenever 5 s are left.
	for credit, ended := uint64(10_000), false; !ended; {
		ended = x.next()
		if n := len(x.records); n > 0 {
			r := want.Records[x.records[n-1].Number]
			if ms := (r.FirstSample + uint64(r.Samples)) * 1000 / 44100; ms+5000 > credit {
				credit += 10_000
				x.credit(credit)
			}
		}
	}
	x.wantEnd(wire.TrackEnd)
	got := append(bytes.Clone(x.head.Setup), x.plain(want)...)
	if !bytes.Equal(got, s.Plain[wire.Kbps96]) {
		t.Error("setup and records are not the Ogg file")
	}
	if x.head.TotalSamples != want.TotalSamples || x.head.RecordCount != uint64(len(want.Records)) {
		t.Errorf("HEAD says %d samples in %d records", x.head.TotalSamples, x.head.RecordCount)
	}
}

func head(t *testing.T, s *suite) {
	first := s.play(t, func(p *wire.Play) { p.UntilMs = 1 })
	h := first.head
	o := s.streams[wire.Kbps96]
	if h.Codec != wire.Vorbis || h.Rate != 44100 || h.Channels != 2 || h.PreSkip != 0 || h.FirstRecord != 0 || h.FirstSample != 0 {
		t.Errorf("HEAD is %+v", h)
	}
	if !bytes.Equal(h.Setup, o.Setup) || seal.SetupID(h.Setup) != h.SetupID || len(h.WrappedKey) != seal.WrappedKeySize {
		t.Error("HEAD has another setup, or no key")
	}
	again := s.play(t, func(p *wire.Play) {
		p.UntilMs, p.Have, p.Flags = 1, [][8]byte{{9}, h.SetupID}, wire.KeyKnown
	})
	if len(again.head.Setup) != 0 || len(again.head.WrappedKey) != 0 || again.head.SetupID != h.SetupID || again.head.ObjectID != h.ObjectID {
		t.Errorf("HEAD for a client that has everything is %+v", again.head)
	}
	other := s.play(t, func(p *wire.Play) { p.UntilMs, p.Have = 1, [][8]byte{{9}} })
	if len(other.head.Setup) == 0 || len(other.head.WrappedKey) == 0 {
		t.Error("setup or key left out")
	}
}

func indexAfter(t *testing.T, s *suite) {
	x := s.play(t, nil)
	o := s.streams[wire.Kbps96]
	if x.index == nil {
		t.Fatal("no INDEX")
	}
	var audio uint64
	for _, r := range o.Records[:x.audioAt] {
		audio += uint64(r.Samples)
	}
	if audio < 2*44100 {
		t.Errorf("INDEX after %d samples", audio)
	}
	if len(x.index.Records) != len(o.Records) {
		t.Fatalf("INDEX of %d records", len(x.index.Records))
	}
	for i, r := range x.index.Records {
		if r.Samples != o.Records[i].Samples {
			t.Errorf("record %d has %d samples, INDEX says %d", i, o.Records[i].Samples, r.Samples)
		}
	}
	for i, r := range x.records {
		if uint64(len(r.Ciphertext)) != x.index.Records[i].Length {
			t.Errorf("record %d has %d bytes, INDEX says %d", i, len(r.Ciphertext), x.index.Records[i].Length)
		}
	}
	if x := s.play(t, func(p *wire.Play) { p.Flags = wire.NoIndex }); x.index != nil {
		t.Error("INDEX although not wanted")
	}
	if x := s.play(t, func(p *wire.Play) { p.UntilMs = 1500 }); x.index != nil {
		t.Error("INDEX before 2 s")
	}
}

func seekExact(t *testing.T, s *suite) {
	o := s.streams[wire.Kbps96]
	boundary := o.Records[20].FirstSample*1000/44100 + 1 // the record begins here: one earlier has to prime
	for _, ms := range []uint64{0, 1, 199, 5000, 12_345, boundary, 24_000} {
		x := s.play(t, func(p *wire.Play) { p.FromMs, p.CreditMs = ms, 2000 })
		target := ms * 44100 / 1000
		want := o.RecordAt(target)
		h := x.head
		if h.FirstRecord != uint64(want) || h.FirstSample != o.Records[want].JoinSample || h.FirstSample > target {
			t.Errorf("from %d ms: record %d, sample %d; want %d, %d", ms, h.FirstRecord, h.FirstSample, want, o.Records[want].JoinSample)
		}
		x.plain(o)
	}
	if want := o.RecordAt(boundary * 44100 / 1000); want != 19 {
		t.Errorf("the target at a boundary is primed by record %d", want)
	}
}

// qualityChange asks for the same position in two qualities: the samples line up.
func qualityChange(t *testing.T, s *suite) {
	low := s.play(t, func(p *wire.Play) { p.FromMs = 8000 })
	high := s.play(t, func(p *wire.Play) { p.FromMs, p.Quality = 8000, wire.Kbps160 })
	low.plain(s.streams[wire.Kbps96])
	high.plain(s.streams[wire.Kbps160])
	if low.head.TotalSamples != high.head.TotalSamples || low.head.Rate != high.head.Rate || low.head.ObjectID == high.head.ObjectID {
		t.Errorf("%+v\n%+v", low.head, high.head)
	}
}

func pastTheEnd(t *testing.T, s *suite) {
	for _, ms := range []uint64{1 << 20, 1 << 40, wire.MaxVarint} {
		x := s.play(t, func(p *wire.Play) { p.FromMs = ms })
		x.wantEnd(wire.TrackEnd)
		if len(x.records) != 1 || x.records[0].Number != x.head.RecordCount-1 {
			t.Errorf("from %d ms: %d records from %d", ms, len(x.records), x.head.FirstRecord)
		}
	}
}

func until(t *testing.T, s *suite) {
	o := s.streams[wire.Kbps96]
	for _, ms := range []uint64{1, 2000, 9_990} {
		x := s.play(t, func(p *wire.Play) { p.UntilMs = ms })
		x.wantEnd(wire.UntilReached)
		x.plain(o)
		last := o.Records[x.end.LastRecord]
		if end := ms * 44100 / 1000; last.FirstSample >= end || last.FirstSample+uint64(last.Samples) < end {
			t.Errorf("until %d ms: last record holds %d to %d", ms, last.FirstSample, last.FirstSample+uint64(last.Samples))
		}
	}
	// An end before the beginning still gives the first record.
	x := s.play(t, func(p *wire.Play) { p.FromMs, p.UntilMs = 8000, 10 })
	x.wantEnd(wire.UntilReached)
	if len(x.records) != 1 {
		t.Errorf("%d records", len(x.records))
	}
}

func headOnly(t *testing.T, s *suite) {
	x := s.play(t, func(p *wire.Play) { p.Flags = wire.HeadOnly | wire.Prefetch })
	x.wantEnd(wire.OnlyHead)
	if len(x.records) != 0 || x.head.Setup == nil {
		t.Errorf("%d records, %+v", len(x.records), x.head)
	}
}
