package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"connectrpc.com/connect"
)

const (
	// smallBody is read into memory before a request is worked on, whatever else is.
	smallBody = 32 << 10
	// maxBuffered bounds what larger ones may take, all together.
	maxBuffered = 64 << 20
)

// errCut ends an exchange that has to make room for another.
var errCut = errors.New("its place was needed")

// cut ends the exchange from outside.
func (x *exchange) cut() {
	x.ending.Lock()
	defer x.ending.Unlock()
	if x.ended {
		return
	}
	x.cancel(errCut)
	past := time.Unix(1, 0)
	_ = x.w.control.SetReadDeadline(past)  // a real connection has deadlines
	_ = x.w.control.SetWriteDeadline(past) // as above
}

// wasCut reports whether the exchange lost its place to another.
func (x *exchange) wasCut() bool { return errors.Is(context.Cause(x.r.Context()), errCut) }

// receive reads the body before a request takes the place of one that is worked on: who
// sends slowly holds up nobody but itself. It answers itself when it returns false.
func (x *exchange) receive() bool {
	if x.r.Body == nil || x.r.Body == http.NoBody || x.r.ContentLength == 0 {
		return true
	}
	known := max(0, min(x.r.ContentLength, smallBody)) // -1 where it is not told
	buf := bytes.NewBuffer(make([]byte, 0, known+bytes.MinRead))
	n, err := buf.ReadFrom(io.LimitReader(x.r.Body, smallBody))
	if err == nil && n == smallBody {
		most := x.route.body
		if x.r.ContentLength > 0 {
			most = x.r.ContentLength
		}
		if x.g.buffered.Add(most) > maxBuffered {
			x.g.buffered.Add(-most)
			x.refuse(overloaded())
			return false
		}
		x.reserved = most
		_, err = buf.ReadFrom(x.r.Body)
	}
	if err == nil {
		x.r.Body = io.NopCloser(buf)
		return true
	}
	if f, ok := x.broken(); ok {
		x.refuse(f)
		return false
	}
	x.reason = "client_gone"
	panic(http.ErrAbortHandler)
}

// broken is the answer where the exchange itself knows why it cannot go on.
func (x *exchange) broken() (f refusal, ok bool) {
	switch {
	case x.over.Load():
		return tooLarge(), true
	case x.wasCut():
		return overloaded(), true
	case x.slow():
		return slowBody(), true
	case errors.Is(context.Cause(x.r.Context()), errDraining):
		return draining(), true
	}
	return refusal{}, false
}

func overloaded() refusal {
	return refusal{status: http.StatusServiceUnavailable, code: connect.CodeUnavailable, reason: "overload", text: "too busy", retry: time.Second}
}

func slowBody() refusal {
	return refusal{status: http.StatusRequestTimeout, code: connect.CodeDeadlineExceeded, reason: "slow_body", text: "request body came too slowly"}
}

func draining() refusal {
	return refusal{status: http.StatusServiceUnavailable, code: connect.CodeUnavailable, reason: "draining", text: "server is stopping", retry: time.Second}
}
