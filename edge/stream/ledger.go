package stream

import (
	"context"
	"log/slog"
	"sync"
	"time"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/stream/id"
)

const (
	// reportLines is how many plays a report holds, reportsMost how many reports wait
	// while playback is away: at one a second, a quarter of an hour.
	reportLines = 1000
	reportsMost = 1000
	// dayMs is the most that a line of a report may say.
	dayMs = 24 * 60 * 60 * 1000
)

type servedKey struct{ user, session, device, play, track id.ID }

type served struct{ millis, bytes uint64 }

// ledger adds up what was served and reports it to playback, each report until it is
// taken in.
type ledger struct {
	edge string
	log  *slog.Logger

	mu   sync.Mutex
	open map[servedKey]served

	// The rest belongs to flush.
	flushing sync.Mutex
	sequence uint64
	waiting  []*playbackv1.ReportServedRequest
}

// newLedger begins with a sequence that no earlier process has reached: the time in
// microseconds.
func newLedger(edge string, now time.Time, log *slog.Logger) *ledger {
	return &ledger{edge: edge, log: log, open: map[servedKey]served{}, sequence: uint64(now.UnixMicro())}
}

func (l *ledger) add(k servedKey, millis, n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.open[k]
	l.open[k] = served{s.millis + millis, s.bytes + n}
}

// flush reports everything that has not been reported, oldest first, and stops at the
// first failure: what is left waits for the next flush.
func (l *ledger) flush(ctx context.Context, to playbackv1connect.StreamServiceClient) {
	l.flushing.Lock()
	defer l.flushing.Unlock()
	l.mu.Lock()
	var open map[servedKey]served // nil while there is nothing: add may write to the other
	if len(l.open) > 0 {
		open, l.open = l.open, make(map[servedKey]served, len(l.open))
	}
	l.mu.Unlock()
	var report *playbackv1.ReportServedRequest
	for k, s := range open {
		if report == nil || len(report.Served) >= reportLines {
			l.sequence++
			report = &playbackv1.ReportServedRequest{EdgeId: l.edge, Sequence: l.sequence}
			l.waiting = append(l.waiting, report)
		}
		report.Served = append(report.Served, &playbackv1.Served{
			UserId: k.user.String(), SessionId: k.session.String(), DeviceId: k.device.String(),
			PlayId: k.play.String(), TrackId: k.track.String(), ServedMs: min(s.millis, dayMs), Bytes: s.bytes,
		})
	}
	if over := len(l.waiting) - reportsMost; over > 0 {
		l.log.ErrorContext(ctx, "playback is away for too long, reports of what was served are lost", "reports", over)
		l.waiting = l.waiting[over:]
	}
	for len(l.waiting) > 0 {
		_, err := to.ReportServed(ctx, l.waiting[0])
		if err != nil && fault.KindOf(err) != fault.Invalid {
			l.log.WarnContext(ctx, "report of what was served waits", "reports", len(l.waiting), "err", err)
			return
		}
		if err != nil {
			// It would never be taken in; the others are.
			l.log.ErrorContext(ctx, "report of what was served is refused", "err", err)
		}
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
	}
}
