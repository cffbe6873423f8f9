package postgres

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/segue-music/segue/internal/pgdb"
	"github.com/segue-music/segue/internal/unixtime"
	"github.com/segue-music/segue/services/upload"
	"github.com/segue-music/segue/services/upload/row"
)

// claimable are due jobs of one stage in the order of their urgency, each locked: who
// claims at the same time passes them by.
const claimable = `SELECT id, priority FROM uploads
	WHERE stage = $1 AND stage > 0 AND priority >= $2 AND run_ms <= $3 AND lease_ms <= $3
	ORDER BY priority DESC, id LIMIT $4 FOR UPDATE SKIP LOCKED`

const lease = `UPDATE uploads SET lease = given, lease_ms = $3
	FROM unnest($1::text[], $2::text[]) AS c (job, given) WHERE id = job RETURNING ` + row.Upload

type dueJob struct {
	id       string
	priority int
}

func scanDue(r row.Scanner) (j dueJob, err error) { return j, r.Scan(&j.id, &j.priority) }

// Claim implements [upload.Store]. It asks stage by stage, so that the index gives the
// order: a queue of any length costs the same.
func (s *Store) Claim(ctx context.Context, lane upload.Lane, now time.Time, period time.Duration, limit int) ([]upload.Upload, error) {
	stages, least := row.Stages(lane)
	var out []upload.Upload
	err := s.db.Write(ctx, func(tx *pgdb.Tx) error {
		out = nil
		var due []dueJob
		for _, stage := range stages {
			jobs, err := collect(ctx, tx, scanDue, claimable, int64(stage), least, unixtime.Milli(now), limit)
			if err != nil {
				return err
			}
			due = append(due, jobs...)
		}
		// Stable: within a priority the stages keep their order.
		slices.SortStableFunc(due, func(a, b dueJob) int { return cmp.Compare(b.priority, a.priority) })
		due = due[:min(len(due), limit)]
		if len(due) == 0 {
			return nil
		}
		ids, leases := make([]string, len(due)), make([]string, len(due))
		for i, j := range due {
			ids[i], leases[i] = j.id, rand.Text()
		}
		var err error
		out, err = collect(ctx, tx, row.ScanUpload, lease, ids, leases, unixtime.Milli(now.Add(period)))
		slices.SortFunc(out, func(a, b upload.Upload) int { return cmp.Compare(slices.Index(ids, a.ID), slices.Index(ids, b.ID)) })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim jobs: %w", err)
	}
	return out, nil
}

// Extend implements [upload.Store].
func (s *Store) Extend(ctx context.Context, uploadID, lease string, until time.Time) error {
	n, err := s.exec(ctx, "extend lease", `UPDATE uploads SET lease_ms = $3 WHERE id = $1 AND lease = $2 AND lease <> ''`,
		uploadID, lease, unixtime.Milli(until))
	if err == nil && n == 0 {
		err = fmt.Errorf("extend lease: %w", upload.ErrConflict)
	}
	return err
}

// Release implements [upload.Store].
func (s *Store) Release(ctx context.Context, uploadID, lease string) error {
	_, err := s.exec(ctx, "release lease", `UPDATE uploads SET lease = '', lease_ms = 0 WHERE id = $1 AND lease = $2 AND lease <> ''`,
		uploadID, lease)
	return err
}

// The priority of Express is written out as in the index.
const (
	nextDue        = `SELECT greatest(run_ms, lease_ms) FROM uploads WHERE stage = $1 AND stage > 0 ORDER BY greatest(run_ms, lease_ms) LIMIT 1`
	nextDueExpress = `SELECT greatest(run_ms, lease_ms) FROM uploads WHERE stage = $1 AND stage > 0 AND priority >= 10 ORDER BY greatest(run_ms, lease_ms) LIMIT 1`
)

// NextDue implements [upload.Store].
func (s *Store) NextDue(ctx context.Context, lane upload.Lane) (time.Time, error) {
	stages, least := row.Stages(lane)
	text := nextDue
	if least == upload.Express {
		text = nextDueExpress
	}
	var first time.Time
	for _, stage := range stages {
		due, err := query(ctx, s, func(r row.Scanner) (ms int64, err error) { return ms, r.Scan(&ms) }, "find next job", text, int64(stage))
		if err != nil {
			return time.Time{}, err
		}
		if len(due) == 0 {
			continue
		}
		if t := unixtime.FromMilli(max(due[0], 1)); first.IsZero() || t.Before(first) {
			first = t
		}
	}
	return first, nil
}
