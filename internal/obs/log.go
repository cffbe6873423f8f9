package obs

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/segue-music/segue/internal/span"
)

// Logger makes the log of a process. A line written for a request, or a job, names its
// trace.
func (c *Config) Logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, fmt.Errorf("log level: %w", err)
	}
	opt := &slog.HandlerOptions{Level: level}
	switch c.Format {
	case "text":
		return slog.New(traced{slog.NewTextHandler(w, opt)}), nil
	case "json":
		return slog.New(traced{slog.NewJSONHandler(w, opt)}), nil
	}
	return nil, fmt.Errorf("log format %q is not text or json", c.Format)
}

// traced adds trace_id to lines whose context has one.
type traced struct{ slog.Handler }

func (t traced) Handle(ctx context.Context, r slog.Record) error {
	if id := span.TraceID(ctx); id != "" {
		r.AddAttrs(slog.String("trace_id", id))
	}
	return t.Handler.Handle(ctx, r)
}

func (t traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{t.Handler.WithAttrs(attrs)} }
func (t traced) WithGroup(name string) slog.Handler       { return traced{t.Handler.WithGroup(name)} }
