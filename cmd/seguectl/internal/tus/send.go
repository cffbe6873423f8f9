package tus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	defaultChunk = 32 << 20
	defaultStall = time.Minute
	// attempts in a row that bring nothing forward are given up after.
	attempts = 8
	maxPause = 15 * time.Second
)

// fatal is an error that another attempt does not mend.
type fatal struct{ error }

func (f *fatal) Unwrap() error { return f.error }

// Send sends the size bytes of r to an upload, beginning with what the server does not
// have. It goes on after broken connections as long as it gets on. progress is told how
// many bytes the server has, or is being sent.
func (c *Client) Send(ctx context.Context, at *url.URL, r io.ReaderAt, size int64, progress func(int64)) error {
	if progress == nil {
		progress = func(int64) {}
	}
	known, offset := false, int64(0)
	err := c.persist(ctx, func() (bool, error) {
		before := offset
		if !known {
			have, length, err := c.Offset(ctx, at)
			if err != nil {
				return false, err
			}
			if length != size || have > size {
				return false, &fatal{fmt.Errorf("the upload is of another file: %d of %d bytes", have, length)}
			}
			offset, known = have, true
			progress(offset)
		}
		for offset < size {
			next, err := c.patch(ctx, at, r, offset, size, progress)
			if err != nil {
				known = false
				return offset > before, err
			}
			offset = next
			progress(offset)
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// patch sends one piece and returns the offset after it.
func (c *Client) patch(ctx context.Context, at *url.URL, r io.ReaderAt, offset, size int64, progress func(int64)) (int64, error) {
	chunk, stall := c.Chunk, c.Stall
	if chunk <= 0 {
		chunk = defaultChunk
	}
	if stall <= 0 {
		stall = defaultStall
	}
	n := min(chunk, size-offset)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer watch.Stop()
	body := func() *piece {
		return &piece{r: io.NewSectionReader(r, offset, n), read: func(done int64) {
			watch.Reset(stall)
			progress(offset + done)
		}}
	}
	req, err := c.request(ctx, http.MethodPatch, at, body())
	if err != nil {
		return 0, err
	}
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(body()), nil }
	req.ContentLength = n
	req.Header.Set("Content-Type", "application/offset+octet-stream")
	req.Header.Set("Upload-Offset", strconv.FormatInt(offset, 10))
	answer, err := c.do(req, http.StatusNoContent)
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
			err = cause
		}
		return 0, err
	}
	next, err := count(answer, "Upload-Offset")
	if err == nil && (next <= offset || next > size) {
		err = &fatal{fmt.Errorf("the server is at byte %d after %d to %d", next, offset, offset+n)}
	}
	return next, err
}

var errStalled = errors.New("the connection takes nothing any more")

// piece tells how far it was read.
type piece struct {
	r    io.Reader
	done int64
	read func(int64)
}

func (p *piece) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.done += int64(n)
	p.read(p.done)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &fatal{fmt.Errorf("read file: %w", err)}
	}
	return n, err
}

// persist calls try until it succeeds, fails for good, or fails too often in a row
// without getting on.
func (c *Client) persist(ctx context.Context, try func() (moved bool, err error)) error {
	failures := 0
	for {
		moved, err := try()
		var refusal *RefusalError
		var final *fatal
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &final), errors.As(err, &refusal) && !refusal.passing(),
			c.Permanent != nil && c.Permanent(err):
			return err
		}
		if moved {
			failures = 0
		}
		if failures++; failures >= attempts {
			return err
		}
		wait := min(250*time.Millisecond<<(failures-1), maxPause)
		if refusal != nil {
			wait = max(wait, refusal.RetryAfter)
		}
		if err := c.Wait(ctx, wait); err != nil {
			return err
		}
	}
}

// Wait waits as the Client does between attempts.
func (c *Client) Wait(ctx context.Context, d time.Duration) error {
	if c.Pause != nil {
		return c.Pause(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
