package pcm

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Pace is how fast a Line takes sound.
type Pace uint8

// The paces.
const (
	// Fast takes it as quickly as it comes.
	Fast Pace = iota
	// Realtime takes it at the speed of sound, by the clock.
	Realtime
	// Device is a sink that takes it at the speed of sound by itself.
	Device
)

const (
	// Lead is how much sound is written ahead of what is heard.
	Lead = 500 * time.Millisecond
	// latency is what any output gathers before it begins to sound, and after a gap.
	latency = 100 * time.Millisecond
	// piece is how many frames are written at a time: a tenth of a second.
	piece = Rate / 10
)

// Line writes sound into a sink without a gap, and knows what of it has been heard: its
// own frames are the only clock of a play. When the next sound comes after all that was
// written has been heard, there is a gap.
type Line struct {
	sink Sink
	pace Pace

	mu     sync.Mutex
	frames uint64    // written
	over   time.Time // when all of them have been heard; zero before the first
	gaps   int
}

// NewLine makes a line into sink.
func NewLine(sink Sink, pace Pace) *Line { return &Line{sink: sink, pace: pace} }

// Write writes whole frames; it waits while the line is Lead ahead.
func (l *Line) Write(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("write sound: %w", err)
		}
		n := min(len(p), piece*FrameSize)
		if err := l.write(p[:n]); err != nil {
			return fmt.Errorf("write sound: %w", err)
		}
		p = p[n:]
		if l.pace == Realtime {
			if err := l.wait(ctx, Lead); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Line) write(p []byte) error {
	arrived := time.Now()
	// A device blocks here, while the sound before is heard.
	if _, err := l.sink.Write(p); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := uint64(len(p) / FrameSize)
	l.frames += n
	if l.pace == Fast {
		return nil
	}
	switch {
	case l.over.IsZero():
		l.over = arrived.Add(latency)
	case arrived.After(l.over):
		l.gaps++
		l.over = arrived.Add(latency)
	}
	l.over = l.over.Add(Duration(n))
	if most := time.Now().Add(Lead); l.pace == Device && l.over.After(most) {
		l.over = most // its clock is faster than ours
	}
	return nil
}

// wait waits until no more than ahead is left to be heard.
func (l *Line) wait(ctx context.Context, ahead time.Duration) error {
	l.mu.Lock()
	d := time.Until(l.over) - ahead
	l.mu.Unlock()
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("write sound: %w", ctx.Err())
	}
}

// Drain waits until all has been heard.
func (l *Line) Drain(ctx context.Context) error {
	if l.pace != Realtime {
		return nil // a device does it when it is closed
	}
	return l.wait(ctx, 0)
}

// Written is how many frames were written, Heard how many of them have been heard.
func (l *Line) Written() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frames
}

// Heard is how many frames have been heard.
func (l *Line) Heard() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pace == Fast || l.over.IsZero() {
		return l.frames
	}
	left := max(time.Until(l.over), 0)
	waiting := uint64(left/time.Second)*Rate + uint64(left%time.Second)*Rate/uint64(time.Second)
	return l.frames - min(waiting, l.frames)
}

// Gaps is how often there was nothing to be heard.
func (l *Line) Gaps() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gaps
}

// Close closes the sink.
func (l *Line) Close() error { return l.sink.Close() }
