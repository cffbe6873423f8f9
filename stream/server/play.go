package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/wire"
)

const (
	defaultCreditMs = 10_000
	maxCreditMs     = 30_000
	indexAfterMs    = 2_000
	batchBytes      = 32 << 10
	// prefetchUrgency is below the usual 3 (RFC 9218: lower numbers go first).
	prefetchUrgency = 5
)

// play is one PLAY that is being served.
type play struct {
	c    *Conn
	st   Stream
	sess Session
	req  *wire.Play
	obj  Object
	info *seal.Opened

	next, last int    // record to send next, last one wanted
	until      bool   // last is not the end of the track
	credit     uint64 // sample up to which records may begin
	audio      uint64 // samples sent
	indexed    bool
	bytes      uint64
	told       Served   // what has been reported
	buf        *buffers // only while something is being sent
	fromClient *credits
}

func (c *Conn) play(ctx context.Context, st Stream, r *wire.Reader, payload []byte, far *progress) (err error) {
	start := c.s.deps.Now()
	req, err := wire.ParsePlay(payload)
	if err != nil {
		return err
	}
	early := c.isEarly()
	starting, trace := c.s.deps.Tracer.Play(ctx, req, early)
	defer func() { trace.Ended(err) }()
	sess, err := c.verify(req.Ticket)
	if err != nil {
		return err
	}
	trace.Verified()
	r.Bound(-1)
	if early && !c.s.replay.take(req, sess.Expires(), start) {
		return wire.Errorf(wire.EarlyRefused, "send again after the handshake")
	}
	if !c.s.plays.acquire(ctx, sess.ID(), c.s.limits.Plays, c.s.limits.Crowded) {
		return &wire.Error{Code: wire.RateLimited, RetryAfter: time.Second, Text: "too many plays"}
	}
	defer c.s.plays.release(sess.ID())

	res, err := sess.Resolve(starting, req)
	if err != nil {
		return fmt.Errorf("resolve play: %w", err)
	}
	obj, err := c.s.deps.Objects.Open(starting, res.ObjectID)
	if err != nil {
		return fmt.Errorf("open object: %w", err)
	}
	defer obj.Close()
	p := &play{c: c, st: st, sess: sess, req: req, obj: obj, info: obj.Opened()}
	switch {
	case p.info.KID != res.KID:
		return fmt.Errorf("object %x has key %d, playback says %d", res.ObjectID, p.info.KID, res.KID)
	case !req.Codecs.Has(p.info.Codec):
		return wire.Errorf(wire.QualityUnavailable, "codec is not offered")
	}
	p.place()
	if pr, ok := st.(prioritized); ok && req.Flags&wire.Prefetch != 0 {
		pr.SetPriority(prefetchUrgency, true)
	}
	defer p.account()
	if err := p.begin(ctx, &res); err != nil {
		return err
	}
	far.started = true
	trace.Started()
	if o := c.s.deps.Observer; o != nil {
		o.Started(req, early, c.s.deps.Now().Sub(start))
	}
	if req.Flags&wire.HeadOnly != 0 {
		return c.send(ctx, st, wire.End{Reason: wire.OnlyHead}.Append(nil))
	}
	p.fromClient = newCredits()
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		p.fromClient.read(r)
	}()
	err = p.run(ctx)
	if code := wire.CodeOf(err); err != nil && code != wire.Cancelled {
		// The reader has to end before the stream does; what it would read is refused.
		st.CancelRead(code)
	} else {
		st.CancelRead(0)
	}
	<-reading
	return err
}

// place finds the records of the request.
func (p *play) place() {
	target := p.samples(p.req.FromMs)
	p.next = p.info.RecordAt(min(target, p.info.TotalSamples))
	p.last = len(p.info.Records) - 1
	if p.req.UntilMs > 0 {
		if until := p.samples(p.req.UntilMs); until < p.info.TotalSamples {
			p.last = max(p.recordBefore(until), p.next)
			p.until = p.last < len(p.info.Records)-1
		}
	}
	credit := p.req.CreditMs
	if credit == 0 {
		credit = defaultCreditMs
	}
	p.credit = satAdd(target, p.samples(min(credit, maxCreditMs)))
}

// recordBefore is the record that holds the sample before end.
func (p *play) recordBefore(end uint64) int {
	n := sort.Search(len(p.info.Records), func(i int) bool { return p.info.Records[i].First >= end })
	return max(n-1, 0)
}

// samples is a position in milliseconds as samples, rounded down.
func (p *play) samples(ms uint64) uint64 {
	if ms > math.MaxUint32*1000 {
		return math.MaxUint64 / 2
	}
	return ms * uint64(p.info.Rate) / 1000
}

func (p *play) millis(samples uint64) uint64 { return samples * 1000 / uint64(p.info.Rate) }

func satAdd(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

// begin writes HEAD and the first record at once: together they are what the listener
// waits for.
func (p *play) begin(ctx context.Context, res *Resolved) error {
	first := p.info.Records[p.next]
	h := wire.Head{
		ObjectID: res.ObjectID, SealID: p.info.SealID, KID: p.info.KID, WrappedKey: res.WrappedKey,
		Codec: p.info.Codec, Rate: uint64(p.info.Rate), Channels: p.info.Channels,
		TotalSamples: p.info.TotalSamples, PreSkip: uint64(p.info.PreSkip),
		RecordCount: uint64(len(p.info.Records)), FirstRecord: uint64(p.next), FirstSample: first.First + uint64(first.Join),
		GainTrack: res.GainTrack, GainAlbum: res.GainAlbum, Peak: res.Peak,
		SetupID: p.info.SetupID, Setup: p.info.Setup, CDN: res.CDN,
	}
	if p.req.Flags&wire.KeyKnown != 0 {
		h.WrappedKey = nil
	}
	if slices.Contains(p.req.Have, p.info.SetupID) {
		h.Setup = nil
	}
	p.hold()
	p.buf.out = h.Append(p.buf.out)
	if p.req.Flags&wire.HeadOnly == 0 {
		if err := p.add(p.next, p.next+1); err != nil {
			return err
		}
	}
	return p.flush(ctx)
}

// add reads the records from first to before end in one go and appends their frames.
func (p *play) add(first, end int) error {
	from := p.info.Records[first].Offset
	to := p.info.Records[end-1].Offset + uint64(p.info.Records[end-1].Length)
	p.hold()
	b := p.buf
	b.read = slices.Grow(b.read[:0], int(to-from))[:to-from]
	if n, err := p.obj.ReadAt(b.read, int64(from)); err != nil && (n < len(b.read) || !errors.Is(err, io.EOF)) {
		return fmt.Errorf("read record %d: %w", first, err)
	}
	for i := first; i < end; i++ {
		r := p.info.Records[i]
		b.out = wire.AppendRecHeader(b.out, uint64(i), int(r.Length))
		b.out = append(b.out, b.read[r.Offset-from:][:r.Length]...)
		p.audio += uint64(r.Samples)
	}
	p.next = end
	return nil
}

func (p *play) flush(ctx context.Context) error {
	if p.buf == nil {
		return nil
	}
	if err := p.c.send(ctx, p.st, p.buf.out); err != nil {
		p.buf = nil // a transport that was broken off may still look at it
		return err
	}
	p.bytes += uint64(len(p.buf.out))
	p.drop()
	return nil
}

// account reports what went out since the last time. What was sent before the
// handshake counts once that is complete: a replayed play has no handshake.
func (p *play) account() {
	if p.c.isEarly() {
		return
	}
	now := Served{Millis: p.millis(p.audio), Bytes: p.bytes}
	if now == p.told {
		return
	}
	p.sess.Served(Served{
		Track: p.req.Track, PlayID: p.req.PlayID,
		Millis: now.Millis - p.told.Millis, Bytes: now.Bytes - p.told.Bytes,
	})
	p.told = now
}
