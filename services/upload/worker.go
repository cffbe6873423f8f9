package upload

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/pause"
)

const (
	leaseTime = time.Minute
	// pollTime bounds how long a job of another instance goes unseen.
	pollTime = 5 * time.Second
)

// runLane works on the jobs of a lane, batch of them at a time, until ctx ends.
func (s *Service) runLane(ctx context.Context, lane Lane, batch int) error {
	for {
		if s.waits(lane) {
			if !pause.For(ctx, listPause) {
				return ctx.Err()
			}
			continue
		}
		if lane == LaneAudio || lane == LaneFastAudio {
			// A decode needs space for all that comes of it. What waits is found again.
			if err := s.Space(); err != nil {
				s.Log.WarnContext(ctx, "encoding waits for space", "err", err)
				if !pause.For(ctx, pollTime) {
					return ctx.Err()
				}
				continue
			}
		}
		jobs, err := s.Store.Claim(ctx, lane, s.Now(), leaseTime, batch)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			// Not at once again: a full disk stays full for a while.
			s.Log.ErrorContext(ctx, "claim jobs", "err", err)
			if !pause.For(ctx, pollTime) {
				return ctx.Err()
			}
			continue
		}
		if len(jobs) == 0 {
			if err := s.rest(ctx, lane); err != nil {
				return err
			}
			continue
		}
		if len(jobs) == batch {
			s.poke() // there may be more, for the next worker
		}
		if lane == LaneLight {
			s.listTogether(ctx, jobs)
		} else {
			s.workOn(ctx, jobs, 1)
		}
	}
}

// listPause is how long covers and sound wait for a scan that makes many tracks: what is
// there is to be seen before it is heard.
const listPause = time.Second

// waits tells whether a lane is to leave the machine to those that list tracks. A track
// that someone wants to hear waits for nothing.
func (s *Service) waits(lane Lane) bool {
	if lane != LaneCover && lane != LaneAudio {
		return false
	}
	return s.listing.Load() > 0 || s.Now().UnixMilli() < s.scan.many.Load()+listPause.Milliseconds()
}

// listTogether does light jobs side by side: those that wait at the same time share the
// commits of this store and of metadata's.
func (s *Service) listTogether(ctx context.Context, jobs []Upload) {
	if len(jobs) == lightBatch {
		s.listing.Add(1)
		defer s.listing.Add(-1)
	}
	s.workOn(ctx, jobs, len(jobs))
}

// rest waits until a job may be due.
func (s *Service) rest(ctx context.Context, lane Lane) error {
	wait := pollTime
	if due, err := s.Store.NextDue(ctx, lane); err == nil && !due.IsZero() {
		// Not at once: a lease of another worker is due when it ends.
		wait = max(min(wait, due.Sub(s.Now())), 10*time.Millisecond)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.wake[lane]:
	case <-timer.C:
	}
	return nil
}

// workOn does claimed jobs, so many at a time, holding the leases of those to come.
func (s *Service) workOn(ctx context.Context, jobs []Upload, together int) {
	held := &leases{cancels: map[string]context.CancelFunc{}}
	done := make(chan struct{})
	var keeper, workers sync.WaitGroup
	keeper.Go(func() { s.keepLeases(ctx, held, jobs, done) })
	next := make(chan Upload, len(jobs))
	for _, job := range jobs {
		next <- job
	}
	close(next)
	for range together {
		workers.Go(func() {
			for job := range next {
				jobCtx, cancel := context.WithCancel(ctx)
				if held.begin(job.ID, cancel) {
					s.workOnOne(jobCtx, job)
				}
				cancel()
				held.end(job.ID)
			}
		})
	}
	workers.Wait()
	close(done)
	keeper.Wait()
}

// leases are those that a worker holds.
type leases struct {
	mu      sync.Mutex
	cancels map[string]context.CancelFunc // of jobs in work
	over    map[string]bool               // ended or lost
}

func (l *leases) begin(id string, cancel context.CancelFunc) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancels[id] = cancel
	return !l.over[id]
}

func (l *leases) end(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over == nil {
		l.over = map[string]bool{}
	}
	l.over[id] = true
	if cancel := l.cancels[id]; cancel != nil {
		cancel()
	}
}

func (l *leases) ended(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over[id]
}

// keepLeases extends the leases until done; a job whose lease is lost is stopped.
func (s *Service) keepLeases(ctx context.Context, held *leases, jobs []Upload, done <-chan struct{}) {
	tick := time.NewTicker(leaseTime / 3)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, job := range jobs {
			if held.ended(job.ID) {
				continue
			}
			err := s.Store.Extend(ctx, job.ID, job.Lease, s.Now().Add(leaseTime))
			if errors.Is(err, ErrConflict) && !held.ended(job.ID) {
				s.Log.WarnContext(ctx, "lease is lost", "upload", job.ID)
				held.end(job.ID)
			}
		}
	}
}

// workOnOne does one stage of one job and settles what came of it.
func (s *Service) workOnOne(ctx context.Context, job Upload) {
	if ctx.Err() != nil {
		s.giveBack(ctx, job)
		return
	}
	ctx, end := s.traceJob(ctx, job)
	defer end()
	r := &run{s: s, u: job, lease: job.Lease, step: job.Stage.String(), began: s.Now()}
	var err error
	switch job.Stage {
	case StageTags:
		err = r.tags(ctx)
	case StageCover:
		err = r.cover(ctx)
	case StageAudio:
		err = r.audio(ctx)
	case StageTell:
		err = r.tell(ctx)
	case StageNone: // no job
	}
	switch {
	case err == nil, errors.Is(err, ErrNotFound):
	case ctx.Err() != nil:
		s.giveBack(ctx, r.u)
	case errors.Is(err, ErrConflict):
		// The lease went to another worker, who has the word now.
		s.Log.InfoContext(ctx, "job is no longer held", "upload", job.ID, "step", r.step)
	default:
		if err := r.fail(ctx, err); err != nil {
			s.Log.ErrorContext(ctx, "save failure", "upload", job.ID, "err", err)
			s.giveBack(ctx, r.u)
		}
	}
}

// giveBack returns a job that was stopped. Where even that fails its lease runs out.
func (s *Service) giveBack(ctx context.Context, u Upload) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := s.Store.Release(ctx, u.ID, u.Lease); err != nil {
		s.Log.WarnContext(ctx, "give job back", "upload", u.ID, "err", err)
	}
	s.hub.progress(u.ID, 0)
}

// String is the stage's name in events and logs.
func (s Stage) String() string {
	switch s {
	case StageTags:
		return "probe"
	case StageCover:
		return "cover"
	case StageAudio:
		return "transcode"
	case StageTell:
		return "tell"
	default:
		return ""
	}
}

// run is one worker's hold on one job.
type run struct {
	s     *Service
	u     Upload // as last saved
	lease string
	step  string // in work
	began time.Time
}

// save changes the upload under the lease, which is kept.
func (r *run) save(ctx context.Context, fn func(*draft) error) error {
	u, err := r.s.change(ctx, r.u.ID, r.lease, func(d *draft) error {
		d.KeepLease = true
		return fn(d)
	})
	if err == nil {
		r.u = u
	}
	return err
}

// settle changes the upload and ends the lease.
func (r *run) settle(ctx context.Context, fn func(*draft) error) error {
	u, err := r.s.change(ctx, r.u.ID, r.lease, fn)
	if err == nil {
		r.u = u
	}
	return err
}

// enter names the step in work; done returns the event of its end.
func (r *run) enter(step string) { r.step, r.began = step, r.s.Now() }

func (r *run) done(cpu time.Duration) *eventv1.IngestStepDone {
	wall := r.s.Now().Sub(r.began)
	r.s.metrics.steps.WithLabelValues(r.step).Observe(wall.Seconds())
	return &eventv1.IngestStepDone{
		Step: r.step, Attempt: r.u.Attempts + 1,
		WallMs: uint64(max(wall.Milliseconds(), 0)), CpuMs: uint64(max(cpu.Milliseconds(), 0)),
	}
}

// fail puts the job off, or into the dead-letter state when more tries are of no use.
func (r *run) fail(ctx context.Context, cause error) error {
	attempts := r.u.Attempts + 1
	cause = fault.Disk(cause)
	wait, full := backoff(attempts, r.s.Jitter()), errors.Is(cause, fault.ErrDiskFull)
	if full {
		attempts, wait = r.u.Attempts, backoffDisk
	}
	verdict := final(cause)
	if verdict == nil && int(attempts) >= r.s.limit(cause) {
		verdict = transient(r.step, attempts, cause)
	}
	if full || errors.Is(cause, errChanged) {
		verdict = nil // neither is the file's fault
	}
	failed := &eventv1.IngestStepFailed{Step: r.step, Attempt: attempts, Reason: "to be tried again", Final: verdict != nil}
	code := "retry"
	if verdict != nil {
		failed.Reason, code = verdict.reason, verdict.code
		r.s.traceFailure(ctx, r.step, r.began, verdict.code)
		r.s.Log.WarnContext(ctx, "upload has failed", "upload", r.u.ID, "step", r.step, "err", cause)
		if err := os.RemoveAll(r.workDir()); err != nil {
			r.s.Log.WarnContext(ctx, "remove work folder", "upload", r.u.ID, "err", err)
		}
	} else {
		r.s.Log.InfoContext(ctx, "step is to be tried again", "upload", r.u.ID, "step", r.step, "attempt", attempts, "err", cause)
	}
	r.s.metrics.failures.WithLabelValues(r.step, code, boolText(verdict != nil)).Inc()
	return r.settle(ctx, func(d *draft) error {
		u := &d.Upload
		u.Attempts, u.Step = attempts, r.step
		d.emit(failed)
		if verdict == nil {
			u.RunAt = r.s.Now().UTC().Add(wait)
			if u.State == Processing {
				u.State = Queued
			}
			return nil
		}
		if r.step == StageTell.String() {
			u.Stage = StageNone // the upload has failed already, and metadata cannot be told
			return nil
		}
		d.emit(&eventv1.UploadRejected{Reason: verdict.reason, Code: verdict.code})
		// A track that plays stays: only what had no sound yet is told to have failed.
		u.Stage = StageNone
		if u.TrackID != "" && u.State != Playable && u.Supersedes == "" {
			u.Stage = StageTell
		}
		u.State, u.Reason, u.Priority, u.RunAt, u.Facts.Files = Failed, verdict.reason, Normal, time.Time{}, nil
		return nil
	})
}

func boolText(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (r *run) workDir() string { return filepath.Join(r.s.work, r.u.ID) }
