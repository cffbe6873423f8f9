package sqlite

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/internal/unixtime"
	"github.com/segue-music/segue/services/upload"
	"github.com/segue-music/segue/services/upload/row"
)

// Claim implements [upload.Store]. It asks stage by stage, so that the index gives the
// order: a queue of any length costs the same.
func (s *Store) Claim(ctx context.Context, lane upload.Lane, now time.Time, lease time.Duration, limit int) ([]upload.Upload, error) {
	stages, least := row.Stages(lane)
	var out []upload.Upload
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		var due []upload.Upload
		for _, stage := range stages {
			us, err := queryUploads(ctx, tx, `SELECT `+row.Upload+` FROM uploads
				WHERE stage = ?1 AND stage > 0 AND priority >= ?2 AND run_ms <= ?3 AND lease_ms <= ?3
				ORDER BY priority DESC, id LIMIT ?4`, int64(stage), least, unixtime.Milli(now), limit)
			if err != nil {
				return err
			}
			due = append(due, us...)
		}
		// Stable: within a priority the stages keep their order.
		slices.SortStableFunc(due, func(a, b upload.Upload) int { return cmp.Compare(b.Priority, a.Priority) })
		due = due[:min(len(due), limit)]
		for i := range due {
			due[i].Lease = rand.Text()
			_, err := tx.ExecContext(ctx, `UPDATE uploads SET lease = ?, lease_ms = ? WHERE id = ?`,
				due[i].Lease, unixtime.Milli(now.Add(lease)), due[i].ID)
			if err != nil {
				return err
			}
		}
		out = due
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claim jobs: %w", err)
	}
	return out, nil
}

// Extend implements [upload.Store].
func (s *Store) Extend(ctx context.Context, uploadID, lease string, until time.Time) error {
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE uploads SET lease_ms = ? WHERE id = ? AND lease = ? AND lease <> ''`,
			unixtime.Milli(until), uploadID, lease)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return upload.ErrConflict
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("extend lease: %w", err)
	}
	return nil
}

// Release implements [upload.Store].
func (s *Store) Release(ctx context.Context, uploadID, lease string) error {
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE uploads SET lease = '', lease_ms = 0 WHERE id = ? AND lease = ? AND lease <> ''`,
			uploadID, lease)
		return err
	})
	if err != nil {
		return fmt.Errorf("release lease: %w", err)
	}
	return nil
}

// NextDue implements [upload.Store].
func (s *Store) NextDue(ctx context.Context, lane upload.Lane) (time.Time, error) {
	stages, least := row.Stages(lane)
	var first time.Time
	for _, stage := range stages {
		var ms *int64
		err := s.db.Reader().QueryRowContext(ctx, `SELECT min(max(run_ms, lease_ms)) FROM uploads
			WHERE stage = ? AND stage > 0 AND priority >= ?`, int64(stage), least).Scan(&ms)
		if err != nil {
			return time.Time{}, fmt.Errorf("find next job: %w", err)
		}
		if ms == nil {
			continue
		}
		if t := time.UnixMilli(max(*ms, 1)).UTC(); first.IsZero() || t.Before(first) {
			first = t
		}
	}
	return first, nil
}
