package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/segue-music/segue/audio/ogg"
	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/wire"
)

const (
	firstCredit = 10 * time.Second // what a PLAY without one is given
	lowWater    = 20 * time.Second
	creditStep  = 10 * time.Second
	creditMost  = 30 * time.Second
	// flood is how much may be buffered before a server is taken to ignore credit.
	flood = 90 * time.Second
	// feedEvery is how often the position is asked for.
	feedEvery = 250 * time.Millisecond
	retries   = 5
	// stalled is how long a server may leave credit unused.
	stalled = 5 * time.Second
)

// receive reads answers until the stream is complete: one by QUIC, several by the
// fallback, more where connections break.
func (st *Stream) receive(ctx context.Context, o *opened, until uint64) {
	defer close(st.done)
	st.mu.Lock()
	st.until = until
	st.mu.Unlock()
	failures := 0
	for {
		before := st.position()
		err := st.drain(o)
		o.answer.close()
		progress := st.position() > before
		if progress {
			failures = 0
		}
		switch {
		case ctx.Err() != nil:
			st.finish(fmt.Errorf("%w: %w", ErrClosed, context.Cause(ctx)))
			return
		case err != nil && !passing(err):
			st.finish(err)
			return
		case err != nil:
			if wire.CodeOf(err) == wire.Draining || !isWire(err) {
				o.answer.lost()
			}
			st.s.cfg.Log.DebugContext(ctx, "stream broke off, goes on by a new play", "err", err)
		case !progress && !st.satisfied():
			err = errOrder // an end where there is none
		}
		if err != nil {
			if failures++; failures > retries {
				st.finish(err)
				return
			}
			if failures > 1 {
				pause(ctx, time.Duration(failures)*200*time.Millisecond)
			}
		}
		if !st.more(ctx) {
			return
		}
		next, err := st.reopen(ctx)
		for err != nil {
			if failures++; failures > retries || !passing(err) || ctx.Err() != nil {
				st.finish(err)
				return
			}
			pause(ctx, time.Duration(failures)*200*time.Millisecond)
			next, err = st.reopen(ctx)
		}
		o = next
	}
}

// passing failures are worth another PLAY: connections that broke, servers that stop
// or stumble.
func passing(err error) bool {
	if errors.Is(err, seal.ErrRecord) || errors.Is(err, ogg.ErrCorrupt) || errors.Is(err, ErrClosed) {
		return false
	}
	if !isWire(err) {
		return true
	}
	switch wire.CodeOf(err) {
	case wire.Draining, wire.Internal, wire.RateLimited, wire.Cancelled:
		return true
	default:
		return false
	}
}

func isWire(err error) bool {
	var e *wire.Error
	return errors.As(err, &e)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (st *Stream) position() uint64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.next
}

// satisfied reports whether everything that is wanted has come.
func (st *Stream) satisfied() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.next >= st.head.RecordCount || st.until > 0 && st.end >= st.samples(st.until)
}

// more waits until the listener needs more of the track, and reports whether there
// is more. When not, the stream is finished, but for a later Extend.
func (st *Stream) more(ctx context.Context) bool {
	for {
		heard := st.heard()
		st.mu.Lock()
		complete := st.next >= st.head.RecordCount
		reached := st.until > 0 && st.end >= st.samples(st.until)
		need := st.duration(st.end-min(heard, st.end)) < lowWater
		st.mu.Unlock()
		switch {
		case complete:
			st.finish(nil)
			return false
		case reached:
			st.finish(nil)
			select {
			case <-st.extend:
				st.mu.Lock()
				st.err = nil
				st.mu.Unlock()
				continue
			case <-ctx.Done():
				return false
			}
		case need:
			return true
		}
		select {
		case <-st.wake:
		case <-st.extend:
		case <-ctx.Done():
			st.finish(fmt.Errorf("%w: %w", ErrClosed, context.Cause(ctx)))
			return false
		}
	}
}

// reopen asks for what comes behind the last record. The position is one block inside
// the next record, so that the answer begins with it: the decoder is running and needs no
// priming.
func (st *Stream) reopen(ctx context.Context) (*opened, error) {
	const inside = 2048
	st.mu.Lock()
	req, until := st.req, st.until
	from := ((st.end+inside)*1000 + st.head.Rate - 1) / st.head.Rate
	if st.next == st.head.FirstRecord && st.stats.Records == 0 {
		from = uint64(req.From.Milliseconds())
	}
	st.mu.Unlock()
	req.NoIndex = req.NoIndex || st.Index() != nil
	o, err := st.s.open(ctx, &req, from, until)
	if err != nil {
		return nil, err
	}
	if h := o.answer.head; h.ObjectID != st.head.ObjectID || h.FirstRecord > st.position() {
		o.answer.close()
		return nil, wire.Errorf(wire.NotFound, "the track was encoded anew")
	}
	st.mu.Lock()
	st.stats.Resumed++
	st.stats.Transport = o.answer.transport
	st.mu.Unlock()
	return o, nil
}

// drain reads one answer to its end.
func (st *Stream) drain(o *opened) error {
	st.mu.Lock()
	base := st.stats.Bytes
	from := max(st.end, o.answer.head.FirstSample)
	st.credit = from + st.samples(uint64(firstCredit.Milliseconds()))
	st.raise, st.stop = o.answer.credit, func() { o.answer.lost(); o.answer.close() }
	st.moved = st.s.cfg.Now()
	expect := o.answer.head.FirstRecord
	st.mu.Unlock()
	defer func() {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.raise, st.stop = nil, nil
	}()
	for {
		f, err := o.answer.frames.Next()
		st.mu.Lock()
		st.stats.Bytes = base + o.answer.frames.Bytes()
		st.moved = st.s.cfg.Now()
		st.mu.Unlock()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // only END is an end
			}
			return fmt.Errorf("read stream: %w", codeOf(err))
		}
		switch f.Type {
		case wire.TypeRec:
			err = st.record(o, f.Payload, &expect)
		case wire.TypeIndex:
			err = st.keepIndex(f.Payload)
		case wire.TypeEnd:
			_, err = wire.ParseEnd(f.Payload)
			if err == nil {
				return nil
			}
		case wire.TypeErr:
			var refusal *wire.Error
			if refusal, err = wire.ParseErr(f.Payload); err == nil {
				return refusal
			}
		default:
			err = wire.Errorf(wire.BadFrame, "frame %#x in a stream", uint64(f.Type))
		}
		if err != nil {
			return err
		}
	}
}

// record takes one REC frame.
func (st *Stream) record(o *opened, payload []byte, expect *uint64) error {
	rec, err := wire.ParseRec(payload)
	if err != nil {
		return err
	}
	if rec.Number != *expect || rec.Number > math.MaxUint32 {
		return errOrder
	}
	*expect++
	if rec.Number < st.position() {
		return nil // came with an earlier answer
	}
	pages, err := o.opener.Open(nil, uint32(rec.Number), rec.Ciphertext)
	if err != nil {
		return err
	}
	end, err := lastGranule(pages)
	if err != nil {
		return err
	}
	last := rec.Number == st.head.RecordCount-1
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case rec.Number != st.next || end < st.end || end > st.head.TotalSamples || last && end != st.head.TotalSamples:
		return errOrder
	case st.duration(end-st.pulled) > flood:
		return wire.Errorf(wire.BadFrame, "server sends without credit")
	}
	if st.stats.Records == 0 {
		st.stats.Start = st.s.cfg.Now().Sub(st.start)
	}
	st.stats.Records++
	st.queue = append(st.queue, &Record{Number: uint32(rec.Number), Pages: pages, First: st.end, End: end})
	st.next, st.end = rec.Number+1, end
	signal(st.ready)
	return nil
}

// lastGranule is the position after the last page.
func lastGranule(pages []byte) (uint64, error) {
	r := ogg.NewReader(bytes.NewReader(pages))
	end := int64(ogg.NoGranule)
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
		if p.Granule != ogg.NoGranule {
			end = p.Granule
		}
	}
	if end < 0 {
		return 0, fmt.Errorf("%w: record without a position", ogg.ErrCorrupt)
	}
	return uint64(end), nil
}

func (st *Stream) keepIndex(payload []byte) error {
	x, err := wire.ParseIndex(payload)
	if err != nil {
		return err
	}
	var total uint64
	for _, r := range x.Records {
		total += uint64(r.Samples)
	}
	if uint64(len(x.Records)) != st.head.RecordCount || total != st.head.TotalSamples {
		return wire.Errorf(wire.BadFrame, "INDEX of another object")
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.index = x
	return nil
}

// heard is the sample up to which the listener is. mu is not held: Played is the
// caller's and may ask the stream.
func (st *Stream) heard() uint64 {
	if st.req.Played == nil {
		st.mu.Lock()
		defer st.mu.Unlock()
		return st.pulled
	}
	return max(st.samples(uint64(max(st.req.Played(), 0).Milliseconds())), st.head.FirstSample)
}

// feed gives credit while the listener goes on, and wakes those who wait for that.
func (st *Stream) feed(ctx context.Context) {
	tick := time.NewTicker(feedEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-st.pull:
		case <-st.done:
			return
		case <-ctx.Done():
			return
		}
		st.give()
		st.watchdog()
		signal(st.wake)
	}
}

// watchdog breaks off an answer that has stopped coming although there is credit: a
// server that died says nothing, and QUIC takes a minute to notice.
func (st *Stream) watchdog() {
	st.mu.Lock()
	owed := st.credit > st.end+st.samples(1000) && st.next < st.head.RecordCount
	var stop func()
	if owed && st.s.cfg.Now().Sub(st.moved) > stalled {
		stop = st.stop
	}
	st.mu.Unlock()
	if stop != nil {
		stop()
	}
}

func (st *Stream) give() {
	heard := st.heard()
	st.mu.Lock()
	raise := st.raise
	low := st.credit < heard+st.samples(uint64(lowWater.Milliseconds()))
	if raise == nil || !low {
		st.mu.Unlock()
		return
	}
	st.moved = st.s.cfg.Now()
	most := heard + st.samples(uint64(creditMost.Milliseconds()))
	st.credit = min(max(st.credit, heard)+st.samples(uint64(creditStep.Milliseconds())), most)
	ms := st.credit * 1000 / st.head.Rate
	st.mu.Unlock()
	// A failure shows in the reading of the same stream.
	_ = raise(ms)
}
