// Package spool delivers a player's events and loses none: they lie in a file until the
// server has acknowledged them, and what one run could not deliver the next one does.
//
// Each run has a file of its own, locked as long as the run lasts, in a folder of its own
// per account: events are never delivered as someone else's.
package spool

import (
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

	f      *os.File
	failed bool // the file cannot be written; events still go out from memory

	mu      sync.Mutex
	pending []*collectv1.ClientEvent
	kept    int // the first so many of pending are on the disk

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

// Add takes an event in. It waits neither for the disk nor for the server: whoever
// plays has no time for that. A moment later the event is on the disk.
func (s *Spool) Add(e *collectv1.ClientEvent) {
	s.mu.Lock()
	s.pending = append(s.pending, e)
	s.mu.Unlock()
	signal(s.wake)
}

// keep writes to the disk what is not there yet.
func (s *Spool) keep() {
	s.mu.Lock()
	fresh := s.pending[s.kept:]
	s.kept = len(s.pending)
	s.mu.Unlock()
	if len(fresh) == 0 || s.failed {
		return
	}
	var lines []byte
	for _, e := range fresh {
		line, err := encode(&collectv1.SendEventsRequest{DeviceId: s.deviceID, SessionId: s.sessionID, Events: []*collectv1.ClientEvent{e}})
		if err != nil {
			s.log.Warn("event cannot be kept", "event", e.GetId(), "err", err)
			continue
		}
		lines = append(lines, line...)
	}
	_, err := s.f.Write(lines)
	if err == nil {
		err = s.f.Sync()
	}
	if err != nil {
		s.failed = true
		s.log.Warn("events are not kept on disk", "err", err)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run keeps what is added and delivers it, and goes on after failures. Keeping does not
// wait for delivering.
func (s *Spool) run(ctx context.Context) {
	defer close(s.done)
	const first = time.Second
	pause := first
	var again <-chan time.Time       // after a failure
	var sent chan error              // while a request is under way
	var out []*collectv1.ClientEvent // what is in it
	for {
		select {
		case <-s.wake:
		case <-again:
			again = nil
		case err := <-sent:
			sent = nil
			if err != nil {
				s.log.Debug("events were not delivered, they will be", "err", err)
				again = time.After(pause)
				pause = min(2*pause, time.Minute)
				break
			}
			pause = first
			s.drop(len(out))
		case <-s.quit:
			if sent != nil {
				if err := <-sent; err == nil {
					s.drop(len(out))
				}
			}
			s.keep()
			return
		}
		s.keep()
		if sent != nil || again != nil {
			continue
		}
		if out = s.next(); len(out) > 0 {
			sent = make(chan error, 1)
			go func(events []*collectv1.ClientEvent, done chan<- error) { done <- s.send(ctx, events) }(out, sent)
		}
	}
}

// next are the events to deliver next, all of them kept.
func (s *Spool) next() []*collectv1.ClientEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending[:min(batch, s.kept)]
}

func (s *Spool) send(ctx context.Context, events []*collectv1.ClientEvent) error {
	return send(ctx, s.collect, &collectv1.SendEventsRequest{DeviceId: s.deviceID, SessionId: s.sessionID, Events: events}, s.log)
}

// drop forgets the first n events, which were delivered.
func (s *Spool) drop(n int) {
	s.mu.Lock()
	s.pending = s.pending[n:]
	s.kept -= n
	empty := s.kept == 0
	s.mu.Unlock()
	// What came meanwhile is kept after this. Events that stay in the file although they were
	// delivered do no harm: the server knows them again by their ids.
	if empty && !s.failed {
		if err := s.f.Truncate(0); err != nil {
			s.log.Debug("event spool was not emptied", "err", err)
		}
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
	var deliverErr error
	for events := s.next(); len(events) > 0 && deliverErr == nil; events = s.next() {
		if deliverErr = s.send(ctx, events); deliverErr == nil {
			s.drop(len(events))
		}
	}
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
