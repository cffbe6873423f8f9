package player

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/segue-music/segue/audio/ogg"
	"github.com/segue-music/segue/cmd/seguectl/internal/pcm"
	"github.com/segue-music/segue/cmd/seguectl/internal/vorbis"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/id"
)

// track is one play: a stream that is being received and decoded.
type track struct {
	id, playID id.ID
	from       time.Duration
	asked      time.Time
	ahead      bool // was asked for before its turn

	cancel context.CancelFunc
	line   *pcm.Line

	opened  chan struct{} // what follows is set
	stream  *client.Stream
	decoder *vorbis.Decoder
	err     error // stream or decoder is nil

	wanted chan struct{} // its turn has come
	base   atomic.Int64  // frame of the line where it begins; -1 before its turn

	fed     chan struct{} // the decoder has been given all there is
	feedErr error
}

// prepare asks for a track and begins to decode it.
func (p *Player) prepare(ctx context.Context, trackID, playID id.ID, from time.Duration, ahead bool) *track {
	ctx, cancel := context.WithCancel(ctx)
	t := &track{
		id: trackID, playID: playID, from: from, asked: p.Now(), ahead: ahead, cancel: cancel, line: p.Line,
		opened: make(chan struct{}), wanted: make(chan struct{}), fed: make(chan struct{}),
	}
	t.base.Store(-1)
	req := client.Request{Track: trackID, PlayID: t.playID, Quality: p.Quality, From: from, Prefetch: ahead}
	if ahead {
		req.Until = prefetched
	}
	if !p.Fast {
		req.Played = t.played
	}
	go t.receive(ctx, p.Session, req)
	return t
}

// receive opens the stream and gives it to a decoder, which starts while the server is
// being asked.
func (t *track) receive(ctx context.Context, s *client.Session, req client.Request) {
	defer close(t.fed)
	started := make(chan error, 1)
	go func() {
		var err error
		t.decoder, err = vorbis.Start(ctx)
		started <- err
	}()
	t.stream, t.err = s.Play(ctx, req)
	if err := <-started; t.err == nil {
		t.err = err
	}
	close(t.opened)
	if t.err != nil {
		return
	}
	t.feedErr = t.feed(ctx)
	if err := t.decoder.End(); err != nil && t.feedErr == nil {
		t.feedErr = fmt.Errorf("decode: %w", err)
	}
}

// feed gives the decoder the stream, page by page.
func (t *track) feed(ctx context.Context) error {
	if err := t.decoder.Write(t.stream.Setup()); err != nil {
		return err
	}
	next := t.stream.Head().FirstRecord
	for {
		r, err := t.stream.Next()
		switch {
		case errors.Is(err, io.EOF) && next >= t.stream.Head().RecordCount:
			return nil
		case errors.Is(err, io.EOF):
			// The head is here; the rest comes when it is wanted.
			if err := t.hold(ctx); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		if err := t.decoder.Write(r.Pages); err != nil {
			return err
		}
		next = uint64(r.Number) + 1
	}
}

// hold waits for the track's turn.
func (t *track) hold(ctx context.Context) error {
	select {
	case <-t.wanted:
	case <-ctx.Done():
		return ctx.Err()
	}
	// The stream may need a moment to see that it goes on.
	const moment = 2 * time.Millisecond
	select {
	case <-time.After(moment):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await waits for the server's answer.
func (t *track) await(ctx context.Context) error {
	select {
	case <-t.opened:
		return t.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// failedAhead reports that asking before its turn failed, so that it is worth another
// try.
func (t *track) failedAhead() bool {
	select {
	case <-t.opened:
		return t.err != nil
	default:
		return false
	}
}

// want says that the track's turn has come, at a frame of the line.
func (t *track) want(frame uint64) {
	t.base.Store(int64(frame))
	if t.ahead {
		t.stream.Extend()
	}
	close(t.wanted)
}

// errDecoder says that ffmpeg ended in the middle of a stream.
var errDecoder = errors.New("the decoder gave up")

// fedWhole tells, after the decoder's end, what went wrong with giving it the stream.
func (t *track) fedWhole(ctx context.Context) error {
	// A decoder ends in good order only after it was given everything.
	const moment = 2 * time.Second
	late := time.NewTimer(moment)
	defer late.Stop()
	select {
	case <-t.fed:
		return t.feedErr
	case <-late.C:
		return errDecoder
	case <-ctx.Done():
		return ctx.Err()
	}
}

// played is the position up to which the track has been heard.
func (t *track) played() time.Duration {
	base := t.base.Load()
	if base < 0 {
		return t.from
	}
	heard := t.line.Heard()
	return t.from + pcm.Duration(heard-min(uint64(base), heard))
}

// kbps is the quality that was given: the nominal bit rate in the codec's headers. 0 when
// they do not say.
func (t *track) kbps() uint32 {
	s, err := ogg.NewSplitter(bytes.NewReader(t.stream.Setup()))
	if err != nil {
		return 0
	}
	return nominal(s.Vorbis().Nominal)
}

// nominal is the quality nearest to a bit rate.
func nominal(bitrate int) uint32 {
	best, least := uint32(0), int(^uint(0)>>1)
	if bitrate <= 0 {
		return 0
	}
	for _, q := range [...]uint32{24, 96, 160, 320} {
		d := max(bitrate-int(q)*1000, int(q)*1000-bitrate)
		if d < least {
			best, least = q, d
		}
	}
	return best
}

// close ends the stream and the decoder.
func (t *track) close() {
	t.cancel()
	<-t.opened
	if t.decoder != nil {
		_ = t.decoder.Close() // what it complains of when it is killed says nothing
	}
	<-t.fed
	if t.stream != nil {
		_ = t.stream.Close() // always nil
	}
}
