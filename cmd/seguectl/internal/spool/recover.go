package spool

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/segue-music/segue/cmd/seguectl/internal/home"
	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
)

// encode makes the line of an event. Names and not numbers stand in it: a later version
// may read it.
func encode(r *collectv1.SendEventsRequest) ([]byte, error) {
	b, err := protojson.Marshal(r)
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// send delivers one request. An error means that the events are to be sent again.
func send(ctx context.Context, c Collect, req *collectv1.SendEventsRequest, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	res, err := c.SendEvents(ctx, req)
	if connect.CodeOf(err) == connect.CodeInvalidArgument && err != nil {
		// The same again would be refused again, for ever.
		log.Warn("events were refused and dropped", "events", len(req.GetEvents()), "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	for _, r := range res.GetRefused() {
		log.Warn("event was refused and dropped", "event", r.GetId(), "reason", r.GetReason())
	}
	return nil
}

// Recover delivers what earlier runs left in dir. Files of runs that still go on are left
// alone.
func Recover(ctx context.Context, dir string, c Collect, log *slog.Logger) error {
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		return fmt.Errorf("find event spools: %w", err)
	}
	for _, name := range names {
		if err := recoverFile(ctx, name, c, log); err != nil {
			return fmt.Errorf("deliver events of an earlier run: %w", err)
		}
	}
	return nil
}

func recoverFile(ctx context.Context, name string, c Collect, log *slog.Logger) error {
	unlock, ok, err := home.TryLock(name)
	if err != nil || !ok {
		return err
	}
	defer unlock()
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if time.Since(info.ModTime()) < tooOld {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, req := range decode(b, log) {
			if err := send(ctx, c, req, log); err != nil {
				return err
			}
		}
	}
	return os.Remove(name)
}

// decode reads the lines of a file into requests of one session each. A line that was
// torn when the machine stopped is left out.
func decode(b []byte, log *slog.Logger) []*collectv1.SendEventsRequest {
	var out []*collectv1.SendEventsRequest
	in := bufio.NewScanner(bytes.NewReader(b))
	in.Buffer(nil, maxLine)
	for in.Scan() {
		req := &collectv1.SendEventsRequest{}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(in.Bytes(), req); err != nil || len(req.GetEvents()) == 0 {
			log.Debug("a line of the event spool cannot be read", "err", err)
			continue
		}
		if n := len(out); n > 0 && out[n-1].GetDeviceId() == req.GetDeviceId() && out[n-1].GetSessionId() == req.GetSessionId() && len(out[n-1].GetEvents()) < batch {
			out[n-1].Events = append(out[n-1].Events, req.GetEvents()...)
			continue
		}
		out = append(out, req)
	}
	return out
}
