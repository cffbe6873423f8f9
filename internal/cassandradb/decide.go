package cassandradb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segue-music/segue/internal/pause"
)

// Verdict is what the ring holds of a conditional write.
type Verdict int

// The verdicts.
const (
	// Undecided says that it was not applied so far: nothing is in its way.
	Undecided Verdict = iota
	Applied
	// Refused says that it was not applied and never can be: its condition does not hold.
	Refused
)

const (
	// settleLimit bounds what is done to find out about a write.
	settleLimit = 20 * time.Second
	settleFirst = 20 * time.Millisecond
	settleMost  = time.Second
)

// Decide makes a conditional write of one partition and says whether it was applied, also
// where it was not answered. Then verdict looks: it reads with [DB.GetSerial] what tells
// this write from every other, its token. What is still open is written again, which is
// the same write: its condition holds for one of the two at most.
//
// Once the write was sent the end of ctx does not matter any more. [ErrUnknown] where the
// ring does not answer for 20 s.
func (db *DB) Decide(ctx context.Context, list []Statement, verdict func(context.Context) (Verdict, error)) (applied bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	var unsure error // why an earlier try was not answered
	for wait := settleFirst; ; wait = min(2*wait, settleMost) {
		applied, err = db.conditional(ctx, list)
		if err == nil && (applied || unsure == nil) {
			return applied, nil
		}
		if mistake(err) || (unsure == nil && errors.Is(err, errNotSent)) {
			return false, err // it was not sent
		}
		if err != nil {
			unsure = err
		}
		// Also after a refusal: it may be our own earlier try that was met.
		v, err := db.ask(ctx, wait, verdict)
		if err != nil {
			db.meters.resolved.WithLabelValues("unknown").Inc()
			return false, ErrUnknown.Because(fmt.Errorf("%w, and then: %w", unsure, err))
		}
		if v != Undecided {
			db.meters.resolved.WithLabelValues(v.String()).Inc()
			return v == Applied, nil
		}
		if !pause.About(ctx, wait) {
			db.meters.resolved.WithLabelValues("unknown").Inc()
			return false, ErrUnknown.Because(unsure)
		}
	}
}

// ask asks for the verdict until the ring answers.
func (db *DB) ask(ctx context.Context, wait time.Duration, verdict func(context.Context) (Verdict, error)) (Verdict, error) {
	for {
		v, err := verdict(ctx)
		if err == nil || errors.Is(err, ErrUnknown) || errors.Is(err, ErrClosed) || mistake(err) || !pause.About(ctx, wait) {
			return v, err
		}
		wait = min(2*wait, settleMost)
	}
}

func (v Verdict) String() string {
	switch v {
	case Applied:
		return "applied"
	case Refused:
		return "refused"
	default:
		return "undecided"
	}
}
