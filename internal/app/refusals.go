package app

import (
	"context"
	"log/slog"
	"time"

	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/internal/identity"
)

// refusals carries what the gateway refused into the audit trail, off the path of the
// request. What comes faster than it can be written is counted and told in the log.
type refusals struct {
	log    *slog.Logger
	record func(context.Context, *userv1.RecordRefusalRequest) error
	queue  chan refusal
}

type refusal struct {
	who  identity.Identity
	body *userv1.RecordRefusalRequest
}

func newRefusals(log *slog.Logger, record func(context.Context, *userv1.RecordRefusalRequest) error) *refusals {
	return &refusals{log: log, record: record, queue: make(chan refusal, 1024)}
}

func (r *refusals) add(ctx context.Context, procedure, reason string) {
	select {
	case r.queue <- refusal{identity.From(ctx), &userv1.RecordRefusalRequest{Procedure: cut(procedure), Reason: cut(reason)}}:
	default:
		r.log.WarnContext(ctx, "a refusal is not in the audit trail: too many at once", "procedure", procedure, "reason", reason)
	}
}

func cut(s string) string { return s[:min(len(s), 256)] }

func (r *refusals) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-r.queue:
			call, cancel := context.WithTimeout(identity.With(ctx, f.who), 5*time.Second)
			if err := r.record(call, f.body); err != nil && ctx.Err() == nil {
				r.log.WarnContext(ctx, "a refusal is not in the audit trail", "procedure", f.body.GetProcedure(), "err", err)
			}
			cancel()
		}
	}
}
