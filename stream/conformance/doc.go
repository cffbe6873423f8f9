// Package conformance holds servers and clients of segue/1 to what
// docs/protocol/segue-1.md promises. Server runs raw frames against any server, on any
// transport; Client runs any client against a server that lies.
//
// World is a backend in memory for servers under test that have none of their own.
package conformance

import (
	"io"
	"testing"

	"github.com/segue-music/segue/stream/wire"
)

// Fixture is a server under test with what a test has to know of it: one track in two
// qualities, and one session that may play it.
type Fixture struct {
	// Dial opens a connection that the test closes.
	Dial func(tb testing.TB) Conn
	// Plain are the Ogg files of Track, at least 25 s long and of equal length, in 96 and 160 kbit/s.
	Plain map[wire.Quality][]byte
	Track [16]byte

	SessionID, SessionKey [16]byte
	// Ticket is a good one, Expired and Foreign (signed by another key) are not.
	Ticket, Expired, Foreign []byte
	// Fence is what the session is told from now on: 0 lets it go on.
	Fence func(code wire.Code)
	// Served is what was counted for a play so far.
	Served func(playID [16]byte) (millis, bytes uint64)
	// FenceCalls is how often the server asked; nil where nobody counts.
	FenceCalls func() int
	// OneRequest says that a connection is a single request that cannot give credit
	// (the fallback).
	OneRequest bool
}

// Conn is a connection of a test.
type Conn interface {
	Open(tb testing.TB) Stream
	Close()
}

// Stream is a client's end of a stream.
type Stream interface {
	io.ReadWriter
	// Close finishes the sending side.
	Close() error
	// Cancel breaks both sides off.
	Cancel(code wire.Code)
}
