package collect

import (
	"context"
	"fmt"

	"github.com/segue-music/segue/event"
)

// recalled is how many diagnostics a start reads back: more than can have been on their
// way to clients that had no answer when the process before ended.
const recalled = 20_000

// Recall reads the ids of the newest diagnostics from the log: a batch that became
// durable just before a crash comes again, and is known then. It is called once, before
// anything is served.
func (s *Service) Recall(ctx context.Context) error {
	n, err := s.Events.Partitions(ctx, event.ClientDiagnostics)
	if err != nil {
		return fmt.Errorf("recall diagnostics: %w", err)
	}
	each := int64(min(recalled, s.Config.Remembered)) / int64(n)
	for p := range n {
		first, next, err := s.Events.Bounds(ctx, event.ClientDiagnostics, p)
		if err != nil {
			return fmt.Errorf("recall diagnostics: %w", err)
		}
		from := max(first, next-each)
		if from >= next {
			continue
		}
		for rec, err := range s.Events.Read(ctx, event.ClientDiagnostics, p, from, false) {
			if err != nil {
				return fmt.Errorf("recall diagnostics: %w", err)
			}
			if env, err := event.Unmarshal(rec.Value); err == nil {
				s.seen.Set(env.GetId(), struct{}{})
			}
		}
	}
	return nil
}
