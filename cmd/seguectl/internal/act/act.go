// Package act gives what the user does one trace (W3C Trace Context), which the requests
// that it takes name, so that the server's parts can be seen as one. The act of playing
// a track has the play id for its trace, since the streaming protocol carries that.
package act

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"github.com/segue-music/segue/stream/id"
)

type key struct{}

type value struct {
	id   id.ID
	keep bool
}

// Begin is a context of an act of its own. Whether its trace is to be kept is as in ctx.
func Begin(ctx context.Context) context.Context {
	v, _ := ctx.Value(key{}).(value)
	v.id = id.New(time.Now(), rand.Reader)
	return context.WithValue(ctx, key{}, v)
}

// Keep is a context in which the server is asked to keep the traces.
func Keep(ctx context.Context) context.Context {
	v, _ := ctx.Value(key{}).(value)
	v.keep = true
	return context.WithValue(ctx, key{}, v)
}

// ID is the act of ctx; zero when there is none.
func ID(ctx context.Context) id.ID {
	v, _ := ctx.Value(key{}).(value)
	return v.id
}

// Hex is a trace id as the server's logs and events have it.
func Hex(trace id.ID) string { return hex.EncodeToString(trace[:]) }

// Put names the act of a request's context in its header.
func Put(req *http.Request) {
	v, _ := req.Context().Value(key{}).(value)
	if v.id.IsZero() {
		return
	}
	var span [8]byte
	_, _ = rand.Read(span[:]) // never fails
	span[0] |= 1              // zero is no span
	flags := 0
	if v.keep {
		flags = 1
	}
	req.Header.Set("Traceparent", fmt.Sprintf("00-%x-%x-%02d", v.id[:], span[:], flags))
}

// Parse reads a trace id: 32 hex digits or, of a start of a track, its play id.
func Parse(s string) (string, error) {
	if b, err := hex.DecodeString(s); err == nil && len(b) == len(id.ID{}) {
		return hex.EncodeToString(b), nil
	}
	play, err := id.Parse(s)
	if err != nil {
		return "", fmt.Errorf("%q is neither a trace, 32 hex digits, nor a play id", s)
	}
	return Hex(play), nil
}
