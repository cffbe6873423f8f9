package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/segue-music/segue/audio/ogg"
	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/wire"
)

// How a player asks, as stream/client and seguectl do.
const (
	firstCredit = 10_000 // ms, what a PLAY without a wish is given
	lowWater    = 20_000
	creditStep  = 10_000
	creditMost  = 30_000
	prefetchAt  = 30 * time.Second // before the end
	prefetched  = 10_000           // ms
	// checkEvery so many records one is opened; before the index comes all are.
	checkEvery = 16
)

// play is one start of one track, as far as it has come and as far as it has sounded.
type play struct {
	l         *listener
	track, id [16]byte
	head      *wire.Head
	key       *seal.Opener
	ends      []uint64 // sample after each record, once the index is there
	next      uint64   // record to come

	mu      sync.Mutex
	end     uint64    // sample after the last one received
	zero    time.Time // when sample 0 sounded, or would have; zero while it is only prefetched
	credit  uint64    // ms
	heard   time.Duration
	begun   time.Time // when what sounds now began, for heard
	seeking bool
}

func (p *play) millis(samples uint64) uint64 { return samples * 1000 / p.head.Rate }

func (p *play) length() time.Duration {
	return time.Duration(p.head.TotalSamples) * time.Second / time.Duration(p.head.Rate)
}

// position of the listener now.
func (p *play) position(now time.Time) time.Duration {
	if p.zero.IsZero() {
		return 0
	}
	return max(now.Sub(p.zero), 0)
}

// check looks whether the listener is where no sound has come yet: an underrun, after which the
// clock stands until it comes. mu is held.
func (p *play) check(now time.Time) {
	if p.zero.IsZero() || p.seeking || p.head == nil || p.end >= p.head.TotalSamples {
		return
	}
	if have := time.Duration(p.end) * time.Second / time.Duration(p.head.Rate); now.Sub(p.zero) > have {
		p.l.underrun()
		p.zero = now.Add(-have)
	}
}

// fetch sends a PLAY and reads its answer to the end, giving credit while the listener goes
// on; begun is called when the first record is here. ctx breaks it off, as a seek or a skip does.
func (p *play) fetch(ctx context.Context, fromMs, untilMs uint64, prefetch bool, begun func()) error {
	asked := time.Now()
	ticket, err := p.l.leave(ctx)
	if err != nil {
		return err
	}
	st, err := p.l.link.open(ctx)
	if err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	unhook := context.AfterFunc(ctx, st.cancel)
	defer func() {
		unhook()
		st.cancel() // gives up what is left; nothing after END
	}()
	req := &wire.Play{
		Track: p.track, PlayID: p.id, Quality: wire.Kbps160, Codecs: wire.Vorbis.Set(), FromMs: fromMs, UntilMs: untilMs,
		Have: p.l.setups, Ticket: ticket,
	}
	for _, f := range []struct {
		on   bool
		flag wire.Flags
	}{{prefetch, wire.Prefetch}, {p.key != nil, wire.KeyKnown}, {p.ends != nil, wire.NoIndex}} {
		if f.on {
			req.Flags |= f.flag
		}
	}
	if _, err := st.Write(req.Append(nil)); err != nil {
		return fmt.Errorf("send PLAY: %w", err)
	}
	p.l.crowd.starts.Add(1)
	p.mu.Lock()
	p.credit = fromMs + firstCredit
	p.mu.Unlock()
	r := wire.NewReader(st, wire.MaxServer)
	first, sounding, counted := true, false, uint64(0)
	for {
		f, err := r.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // only END is an end
			}
			return fmt.Errorf("read stream: %w", err)
		}
		p.l.crowd.bytes.Add(r.Bytes() - counted)
		counted = r.Bytes()
		switch f.Type {
		case wire.TypeHead:
			if err := p.begin(f.Payload); err != nil {
				return err
			}
		case wire.TypeRec:
			if err := p.record(f.Payload); err != nil {
				return err
			}
			if first {
				first = false
				p.l.crowd.took(time.Since(asked))
			}
			if !prefetch && !sounding && p.enough(fromMs) {
				sounding = true
				stop := p.sounds(st, fromMs)
				defer stop()
				begun()
			}
		case wire.TypeIndex:
			if err := p.index(f.Payload); err != nil {
				return err
			}
		case wire.TypeEnd:
			_, err := wire.ParseEnd(f.Payload)
			return err
		case wire.TypeErr:
			e, err := wire.ParseErr(f.Payload)
			if err != nil {
				return err
			}
			return e
		default:
			return fmt.Errorf("frame %#x in a stream", uint64(f.Type))
		}
	}
}

// device is what the output takes at once before it sounds.
const device = 50 * time.Millisecond

// enough reports whether there is sound for the output to begin with.
func (p *play) enough(fromMs uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end >= p.head.TotalSamples || p.millis(p.end) >= fromMs+uint64(device.Milliseconds())
}

// begin takes HEAD: the key, and on a new play the place where it begins.
func (p *play) begin(payload []byte) error {
	h, err := wire.ParseHead(payload)
	if err != nil {
		return err
	}
	if p.key == nil {
		base, err := seal.UnwrapKey(p.l.session.Key, h.WrappedKey, h.ObjectID, h.SealID, h.KID, p.l.session.ID)
		if err != nil {
			return err
		}
		if p.key, err = seal.NewOpener(base, h.SealID, h.KID, uint32(h.RecordCount)); err != nil {
			return err
		}
	}
	p.l.know(h.SetupID)
	p.mu.Lock()
	defer p.mu.Unlock()
	seeked := p.head == nil || p.seeking || h.FirstRecord > p.next
	p.head = h
	if seeked {
		p.next, p.end = h.FirstRecord, h.FirstSample
		return nil
	}
	p.next = h.FirstRecord
	return nil
}

// record counts the sound of one record. A sample of them is opened, and all of those
// whose length is not known yet.
func (p *play) record(payload []byte) error {
	rec, err := wire.ParseRec(payload)
	if err != nil {
		return err
	}
	if p.head == nil || rec.Number != p.next {
		return fmt.Errorf("record %d in the place of %d", rec.Number, p.next)
	}
	p.next++
	var end uint64
	if p.ends != nil {
		end = p.ends[rec.Number]
	}
	if p.ends == nil || rec.Number%checkEvery == 0 {
		pages, err := p.key.Open(nil, uint32(rec.Number), rec.Ciphertext)
		if err != nil {
			return err
		}
		granule, err := lastGranule(pages)
		if err != nil {
			return err
		}
		if p.ends != nil && granule != end {
			return fmt.Errorf("record %d ends at sample %d, the index says %d", rec.Number, granule, end)
		}
		end = granule
		p.l.crowd.opened.Add(1)
	}
	p.l.crowd.records.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.check(time.Now())
	p.end = max(p.end, end)
	return nil
}

func (p *play) index(payload []byte) error {
	x, err := wire.ParseIndex(payload)
	if err != nil {
		return err
	}
	ends, sum := make([]uint64, len(x.Records)), uint64(0)
	for i, s := range x.Records {
		sum += uint64(s.Samples)
		ends[i] = sum
	}
	if uint64(len(ends)) != p.head.RecordCount || sum != p.head.TotalSamples {
		return errors.New("index of another object")
	}
	p.ends = ends
	return nil
}

// lastGranule is the position after the last page.
func lastGranule(pages []byte) (uint64, error) {
	r := ogg.NewReader(bytes.NewReader(pages))
	end := int64(ogg.NoGranule)
	for {
		page, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
		if page.Granule != ogg.NoGranule {
			end = page.Granule
		}
	}
	if end < 0 {
		return 0, errors.New("record without a position")
	}
	return uint64(end), nil
}

// sounds begins the clock of a play whose first record is here, and gives credit from then on.
func (p *play) sounds(st bidi, fromMs uint64) (stop func()) {
	p.mu.Lock()
	now := time.Now()
	if p.zero.IsZero() || p.seeking {
		p.zero, p.seeking = now.Add(-time.Duration(fromMs)*time.Millisecond), false
		p.begun = now
	}
	p.mu.Unlock()
	done := make(chan struct{})
	var once sync.Once
	var timer *time.Timer
	feed := func() {
		select {
		case <-done:
			return
		default:
		}
		p.mu.Lock()
		now := time.Now()
		p.check(now)
		heard := uint64(p.position(now).Milliseconds())
		give := uint64(0)
		if p.credit < heard+lowWater {
			p.credit = min(max(p.credit, heard)+creditStep, heard+creditMost)
			give = p.credit
		}
		again := time.Duration(max(int64(p.credit)-int64(heard)-lowWater, 50)) * time.Millisecond
		p.mu.Unlock()
		if give > 0 {
			_, _ = st.Write(wire.Credit{UntilMs: give}.Append(nil)) // a failure shows in the reading
		}
		timer.Reset(again)
	}
	p.mu.Lock()
	timer = time.AfterFunc(time.Hour, feed)
	timer.Reset(0)
	p.mu.Unlock()
	return func() { once.Do(func() { close(done); timer.Stop() }) }
}
