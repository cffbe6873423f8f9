package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/segue-music/segue/stream/wire"
)

// Record is a piece of a track that has been decrypted and checked.
type Record struct {
	Number uint32
	// Pages are whole Ogg pages.
	Pages []byte
	// First is the position of the first sample that a decoder yields for it: for the first
	// record of a stream, one that starts with it; for the others, one that goes on. End is
	// the position after the last. Per channel, at the rate of HEAD.
	First, End uint64
}

// Stats of a stream.
type Stats struct {
	// Start is from the call of Play to the first decrypted page.
	Start time.Duration
	// Transport is the one in use: quic, quic-0rtt (the PLAY went in early data) or https.
	Transport string
	// Bytes of frames received, Records used, Resumed how often a new PLAY had to go on.
	Bytes   uint64
	Records uint64
	Resumed int
}

// Stream is a track that is being received. Next is for one goroutine at a time, the
// other methods for any.
type Stream struct {
	s      *Session
	req    Request
	cancel context.CancelFunc
	start  time.Time
	head   *wire.Head
	setup  []byte
	done   chan struct{} // receive has ended
	pull   chan struct{} // one token: Next has taken a record
	wake   chan struct{} // one token: the listener may need more
	extend chan struct{} // one token: Extend was called

	mu     sync.Mutex
	ready  chan struct{} // one token: there is something for Next
	queue  []*Record
	err    error // the end, after the queue: io.EOF in good order
	index  *wire.Index
	stats  Stats
	next   uint64 // number of the record to come
	end    uint64 // sample after the last one received
	pulled uint64 // sample after the last one given to Next
	credit uint64 // sample up to which the server may send
	raise  func(untilMs uint64) error
	stop   func()    // breaks the answer off that is being read
	moved  time.Time // when the last frame came, or credit was given
	until  uint64    // ms, 0 is the end of the track
}

func newStream(s *Session, cancel context.CancelFunc, req Request, o *opened, start time.Time) *Stream {
	h := o.answer.head
	st := &Stream{
		s: s, req: req, cancel: cancel, start: start, head: h, setup: o.setup,
		done: make(chan struct{}), pull: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		ready: make(chan struct{}, 1), extend: make(chan struct{}, 1),
		next: h.FirstRecord, end: h.FirstSample, pulled: h.FirstSample,
	}
	st.stats.Transport = o.answer.transport
	return st
}

// Head is what the server said about the track. It is not to be changed.
func (st *Stream) Head() *wire.Head { return st.head }

// Setup are the codec headers as Ogg pages. It is not to be changed.
func (st *Stream) Setup() []byte { return st.setup }

// Skip is how many samples of the decoder's output lie before From.
func (st *Stream) Skip() uint64 {
	target := min(uint64(st.req.From.Milliseconds())*st.head.Rate/1000, st.head.TotalSamples)
	if target < st.head.FirstSample {
		return 0
	}
	return target - st.head.FirstSample
}

// Index is the record index, nil until it has arrived.
func (st *Stream) Index() *wire.Index {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.index
}

// Stats of the stream so far.
func (st *Stream) Stats() Stats {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.stats
}

// Buffered is how much sound waits for Next.
func (st *Stream) Buffered() time.Duration {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.duration(st.end - st.pulled)
}

// Next returns the next record, io.EOF after the last one wanted. Records come in order
// and without a gap: what is missing or not authentic is an error.
func (st *Stream) Next() (*Record, error) {
	for {
		st.mu.Lock()
		if len(st.queue) > 0 {
			r := st.queue[0]
			st.queue[0] = nil
			st.queue = st.queue[1:]
			st.pulled = r.End
			st.mu.Unlock()
			signal(st.pull)
			return r, nil
		}
		err := st.err
		st.mu.Unlock()
		if err != nil {
			return nil, err
		}
		<-st.ready
	}
}

// Extend lets a stream that was asked for until a position go on to the end of the
// track, such as the prefetched head of a track that is now played.
func (st *Stream) Extend() {
	st.mu.Lock()
	st.until = 0
	st.req.Until, st.req.Prefetch = 0, false
	if errors.Is(st.err, io.EOF) && !st.req.HeadOnly && st.next < st.head.RecordCount {
		st.err = nil
	}
	st.mu.Unlock()
	signal(st.extend)
}

// Close ends the stream: the server stops sending. Next then returns ErrClosed, or
// what it would have returned anyway.
func (st *Stream) Close() error {
	st.cancel()
	<-st.done
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.err == nil {
		st.err = ErrClosed
	}
	st.queue = nil
	signal(st.ready)
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (st *Stream) finish(err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.err = err
	if err == nil {
		st.err = io.EOF
	}
	signal(st.ready)
}

func (st *Stream) duration(samples uint64) time.Duration {
	return time.Duration(samples/st.head.Rate)*time.Second +
		time.Duration(samples%st.head.Rate)*time.Second/time.Duration(st.head.Rate)
}

func (st *Stream) samples(ms uint64) uint64 { return ms * st.head.Rate / 1000 }

// Errors of a stream that broke its own promises.
var errOrder = fmt.Errorf("client: %w", wire.Errorf(wire.BadFrame, "records are not those that were announced"))
