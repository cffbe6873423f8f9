// Package pcm is where the sound goes: one continuous line of samples into a sink, at the
// speed of sound or as quickly as it can.
//
// Everything is signed 16 bit, little endian, stereo, 44,100 frames a second. A frame is
// one sample per channel.
package pcm

import (
	"io"
	"time"
)

// The format.
const (
	Rate      = 44100
	Channels  = 2
	FrameSize = 2 * Channels // bytes
)

// Duration is how long frames last.
func Duration(frames uint64) time.Duration {
	return time.Duration(frames/Rate)*time.Second + time.Duration(frames%Rate)*time.Second/Rate
}

// Sink takes whole frames.
type Sink interface {
	io.Writer
	// Close returns when all that was written has been taken care of.
	io.Closer
}

// Null is a sink that keeps nothing.
type Null struct{}

// Write implements Sink.
func (Null) Write(p []byte) (int, error) { return len(p), nil }

// Close implements Sink.
func (Null) Close() error { return nil }
