// Package spool delivers a player's events and loses none: they lie in a file until the
// server has acknowledged them, and what one run could not deliver the next one does.
//
// Each run has a file of its own, locked as long as the run lasts, in a folder of its own
// per account: events are never delivered as someone else's.
package spool

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/segue-music/segue/cmd/seguectl/internal/home"
	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
)

// Collect takes events.
type Collect interface {
	SendEvents(context.Context, *collectv1.SendEventsRequest) (*collectv1.SendEventsResponse, error)
}

const (
	// batch is how many events go in one request, which the server bounds at 200 and 512 KiB.
	batch = 100
	// tooOld is when the server takes events no more at their time.
	tooOld = 30 * 24 * time.Hour
	// maxLine bounds one event in a file.
	maxLine = 64 << 10
	suffix  = ".events"
	// patience bounds one request.
	patience = 10 * time.Second
)

// Spool is the file of one run.
type Spool struct {
	collect   Collect
	log       *slog.Logger
	deviceID  string
	sessionID string
	path      string
	unlock    func()

	mu      sync.Mutex
	f       *os.File
	pending []*collectv1.ClientEvent
	failed  error // the file cannot be written; events still go out from memory

	wake   chan struct{}
	quit   chan struct{}
	done   chan struct{}
	cancel context.CancelFunc // of what run sends
}

// Folder is the name of an account's folder.
func Folder(server, user string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", server, user))
	return hex.EncodeToString(sum[:8])
}

// Open makes the file of a run in dir, an account's folder, and begins to deliver.
func Open(dir, deviceID, sessionID string, collect Collect, log *slog.Logger) (*Spool, error) {
	s := &Spool{
		collect: collect, log: log, deviceID: deviceID, sessionID: sessionID,
		path: filepath.Join(dir, sessionID+suffix),
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	unlock, ok, err := home.TryLock(s.path)
	if err == nil && !ok {
		err = errors.New("another run has this session")
	}
	if err != nil {
		return nil, fmt.Errorf("open event spool: %w", err)
	}
	s.unlock = unlock
	if s.f, err = os.OpenFile(s.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		unlock()
		return nil, fmt.Errorf("open event spool: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go s.run(ctx)
	return s, nil
}

// Add takes an event in. It is on the disk when Add returns.
func (s *Spool) Add(e *collectv1.ClientEvent) {
	line, err := encode(&collectv1.SendEventsRequest{DeviceId: s.deviceID, SessionId: s.sessionID, Events: []*collectv1.ClientEvent{e}})
	s.mu.Lock()
	s.pending = append(s.pending, e)
	if err == nil {
		if _, err = s.f.Write(line); err == nil {
			err = s.f.Sync()
		}
	}
	if err != nil && s.failed == nil {
		s.failed = err
		s.log.Warn("events are not kept on disk", "err", err)
	}
	s.mu.Unlock()
	signal(s.wake)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// encode makes the line of an event. Names and not numbers stand in it: a later version
// may read it.
func encode(r *collectv1.SendEventsRequest) ([]byte, error) {
	b, err := protojson.Marshal(r)
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// run delivers whenever there is something, and goes on after failures.
func (s *Spool) run(ctx context.Context) {
	defer close(s.done)
	const first = time.Second
	pause := first
	var again <-chan time.Time
	for {
		select {
		case <-s.wake:
		case <-again:
		case <-s.quit:
			return
		}
		again = nil
		if err := s.deliver(ctx); err != nil {
			s.log.Debug("events were not delivered, they will be", "err", err)
			again = time.After(pause)
			pause = min(2*pause, time.Minute)
			continue
		}
		pause = first
	}
}

// deliver sends what is pending. Only one goroutine calls it at a time.
func (s *Spool) deliver(ctx context.Context) error {
	for {
		s.mu.Lock()
		events := s.pending[:min(batch, len(s.pending))]
		s.mu.Unlock()
		if len(events) == 0 {
			return nil
		}
		req := &collectv1.SendEventsRequest{DeviceId: s.deviceID, SessionId: s.sessionID, Events: events}
		if err := send(ctx, s.collect, req, s.log); err != nil {
			return err
		}
		s.mu.Lock()
		s.pending = s.pending[len(events):]
		if len(s.pending) == 0 && s.failed == nil {
			// A repeat would do no harm: the server knows the events again by their ids.
			if err := s.f.Truncate(0); err != nil {
				s.log.Debug("event spool was not emptied", "err", err)
			}
		}
		s.mu.Unlock()
	}
}

// Close tries once more to deliver, until ctx ends. What is left waits for the next run;
// left is how many.
func (s *Spool) Close(ctx context.Context) (left int, err error) {
	close(s.quit)
	stop := context.AfterFunc(ctx, s.cancel)
	<-s.done
	stop()
	s.cancel()
	defer s.unlock()
	deliverErr := s.deliver(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.f.Close()
	if left = len(s.pending); left > 0 {
		return left, fmt.Errorf("deliver events: %w", errors.Join(deliverErr, err))
	}
	if err = errors.Join(err, os.Remove(s.path)); err != nil {
		return 0, fmt.Errorf("close event spool: %w", err)
	}
	return 0, nil
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
