package upload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"github.com/segue-music/segue/audio/ffmpeg"
	"github.com/segue-music/segue/internal/fault"
)

const (
	backoffFirst = time.Second
	backoffMost  = 5 * time.Minute
	// backoffDisk: space comes back all at once, and then nobody should have to wait.
	backoffDisk = 15 * time.Second
)

// backoff is exponential with full jitter: from 0 to the bound of this attempt, so that
// jobs that failed together do not come back together.
func backoff(attempt uint32, jitter float64) time.Duration {
	bound := backoffMost
	if attempt < 20 {
		bound = min(bound, backoffFirst<<max(attempt, 1)>>1)
	}
	return time.Duration(jitter * float64(bound))
}

// final turns an error into the rejection that it is, or nil when another try may help.
func final(err error) *rejection {
	var r *rejection
	var killed *ffmpeg.KilledError
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, ffmpeg.ErrNotAudio):
		return &rejection{"not_audio", "The file holds no sound that can be decoded.", err}
	case errors.Is(err, ffmpeg.ErrTruncated):
		return &rejection{"truncated", "The file ends before its sound does: it seems to be cut off or damaged.", err}
	case errors.Is(err, ffmpeg.ErrTooLong):
		return &rejection{"too_long", "The file holds more hours of sound than are allowed.", err}
	case errors.As(err, &killed) && killed.Limit != ffmpeg.LimitSystem && killed.Limit != ffmpeg.LimitWall:
		return &rejection{"too_costly", fmt.Sprintf("Decoding the file takes more than is allowed (%s).", killed.Limit), err}
	case refused(err):
		return &rejection{"refused", "Another part of Segue refused the track: " + fault.Public(asFault(err)) + ".", err}
	}
	return nil
}

// refused tells an answer that repeating the call does not change.
func refused(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound:
		return true
	default: // another service's answer has a code
	}
	code := connect.CodeOf(err)
	return code == connect.CodeInvalidArgument || code == connect.CodeNotFound
}

// limit is how many attempts a job has. That another service is away is not the file's
// fault: hours may pass before that ends a job. A decoder that did not come to an end
// hardly will.
func (s *Service) limit(err error) int {
	var killed *ffmpeg.KilledError
	code := connect.CodeOf(err)
	switch {
	case errors.As(err, &killed):
		return min(s.cfg.MaxAttempts, 2)
	case fault.KindOf(err) == fault.Unavailable, fault.KindOf(err) == fault.Exhausted,
		code == connect.CodeUnavailable, code == connect.CodeDeadlineExceeded, code == connect.CodeResourceExhausted,
		errors.Is(err, context.DeadlineExceeded):
		return s.cfg.MaxAttempts * 16
	}
	return s.cfg.MaxAttempts
}

// callTime bounds a call of another service: a worker does not wait for one that hangs.
const callTime = 30 * time.Second

// within makes a call in bounded time.
func within[Req, Res any](ctx context.Context, call func(context.Context, *Req) (*Res, error), req *Req) (*Res, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return call(ctx, req)
}

// asFault lets the text of another service's refusal through, which is public.
func asFault(err error) error {
	var c *connect.Error
	if fault.KindOf(err) == 0 && errors.As(err, &c) {
		return fault.New(fault.Invalid, c.Message())
	}
	return err
}

// transient is the sentence for an error that more tries did not mend.
func transient(step string, attempts uint32, err error) *rejection {
	var killed *ffmpeg.KilledError
	switch {
	case errors.As(err, &killed):
		return &rejection{"decoder", "The decoder did not come to an end with this file.", err}
	case errors.Is(err, context.DeadlineExceeded):
		return &rejection{"timeout", fmt.Sprintf("The step %q took too long, %d times.", step, attempts), err}
	}
	return &rejection{"gave_up", fmt.Sprintf("The step %q failed %d times; the log of the server says why.", step, attempts), err}
}
