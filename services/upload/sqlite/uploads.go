package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/internal/unixtime"
	"github.com/segue-music/segue/services/upload"
	"github.com/segue-music/segue/services/upload/row"
)

// Create implements [upload.Store].
func (s *Store) Create(ctx context.Context, c upload.Creation) error {
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		owners := map[string]bool{}
		for _, u := range c.Uploads {
			args, err := row.OfUpload(u)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, insertUpload, args...); sqlitedb.IsUnique(err) {
				return upload.ErrExists
			} else if err != nil {
				return err
			}
			owners[u.OwnerID] = true
		}
		for owner := range owners {
			if err := checkBounds(ctx, tx, owner, c.Bounds); err != nil {
				return err
			}
		}
		for _, f := range c.Files {
			if err := putWatched(ctx, tx, f); err != nil {
				return err
			}
		}
		return s.addEvents(ctx, tx, c.Events)
	})
	if err != nil {
		return fmt.Errorf("create upload: %w", err)
	}
	return nil
}

// checkBounds runs after the inserts, so that they count.
func checkBounds(ctx context.Context, tx *sqlitedb.Tx, owner string, b upload.Bounds) error {
	if b == (upload.Bounds{}) {
		return nil
	}
	var bytes int64
	var open int
	err := tx.QueryRowContext(ctx, `SELECT coalesce(sum(size), 0), coalesce(sum(state = 1), 0) FROM uploads
		WHERE owner_id = ? AND (state = 1 OR staged = 1)`, owner).Scan(&bytes, &open)
	switch {
	case err != nil:
		return err
	case b.Bytes > 0 && bytes > b.Bytes:
		return upload.ErrQuota
	case b.Open > 0 && open > b.Open:
		return upload.ErrTooManyOpen
	}
	return nil
}

// Get implements [upload.Store].
func (s *Store) Get(ctx context.Context, uploadID string) (upload.Upload, error) {
	u, err := scanUpload(s.db.Reader().QueryRowContext(ctx, `SELECT `+row.Upload+` FROM uploads WHERE id = ?`, uploadID))
	if err != nil {
		return upload.Upload{}, fmt.Errorf("get upload: %w", err)
	}
	return u, nil
}

// GetMany implements [upload.Store].
func (s *Store) GetMany(ctx context.Context, ids []string) ([]upload.Upload, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	args := make([]any, len(ids))
	for i, v := range ids {
		args[i] = v
	}
	us, err := queryUploads(ctx, s.db.Reader(),
		`SELECT `+row.Upload+` FROM uploads WHERE id IN (?`+strings.Repeat(", ?", len(ids)-1)+`)`, args...)
	if err != nil {
		return nil, fmt.Errorf("get uploads: %w", err)
	}
	return us, nil
}

// ByTrack implements [upload.Store].
func (s *Store) ByTrack(ctx context.Context, trackID string) (upload.Upload, error) {
	u, err := scanUpload(s.db.Reader().QueryRowContext(ctx,
		`SELECT `+row.Upload+` FROM uploads WHERE track_id = ? AND track_id <> '' AND state <> ? ORDER BY id DESC LIMIT 1`,
		trackID, int64(upload.Duplicate)))
	if err != nil {
		return upload.Upload{}, fmt.Errorf("get upload of track: %w", err)
	}
	return u, nil
}

// List implements [upload.Store].
func (s *Store) List(ctx context.Context, q upload.Query) (upload.Page, error) {
	where, args := "1 = 1", []any{}
	if q.OwnerID != "" {
		where, args = "owner_id = ?", append(args, q.OwnerID)
	}
	if q.State != 0 {
		where, args = where+" AND state = ?", append(args, int64(q.State))
	}
	if q.Token != "" {
		before, err := row.Before(q.Token)
		if err != nil {
			return upload.Page{}, fmt.Errorf("list uploads: %w", err)
		}
		where, args = where+" AND id < ?", append(args, before)
	}
	us, err := queryUploads(ctx, s.db.Reader(),
		`SELECT `+row.Upload+` FROM uploads WHERE `+where+` ORDER BY id DESC LIMIT ?`, append(args, q.Size+1)...)
	if err != nil {
		return upload.Page{}, fmt.Errorf("list uploads: %w", err)
	}
	return row.Page(us, q.Size), nil
}

// ChangedSince implements [upload.Store].
func (s *Store) ChangedSince(ctx context.Context, ownerID string, since time.Time, limit int) ([]upload.Upload, error) {
	us, err := queryUploads(ctx, s.db.Reader(), `SELECT `+row.Upload+` FROM uploads
		WHERE owner_id = ? AND updated_ms >= ? ORDER BY updated_ms, id LIMIT ?`, ownerID, unixtime.Milli(since), limit)
	if err != nil {
		return nil, fmt.Errorf("get changed uploads: %w", err)
	}
	return us, nil
}

// Counts implements [upload.Store].
func (s *Store) Counts(ctx context.Context) (out map[upload.State]uint64, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT state, count(*) FROM uploads GROUP BY state`)
	if err != nil {
		return nil, fmt.Errorf("count uploads: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out = map[upload.State]uint64{}
	for rows.Next() {
		var state upload.State
		var n uint64
		if err := rows.Scan(&state, &n); err != nil {
			return nil, fmt.Errorf("count uploads: %w", err)
		}
		out[state] = n
	}
	return out, rows.Err()
}

// Twins implements [upload.Store].
func (s *Store) Twins(ctx context.Context, ownerID string, size int64, quick string) ([]upload.Upload, error) {
	us, err := queryUploads(ctx, s.db.Reader(), `SELECT `+row.Upload+` FROM uploads
		WHERE owner_id = ? AND size = ? AND quick = ? AND quick <> '' AND state NOT IN (?, ?) ORDER BY id`,
		ownerID, size, quick, int64(upload.Failed), int64(upload.Duplicate))
	if err != nil {
		return nil, fmt.Errorf("find twins: %w", err)
	}
	return us, nil
}

// Stale implements [upload.Store].
func (s *Store) Stale(ctx context.Context, state upload.State, staged bool, before time.Time, limit int) ([]upload.Upload, error) {
	us, err := queryUploads(ctx, s.db.Reader(), `SELECT `+row.Upload+` FROM uploads
		WHERE state = ? AND updated_ms < ? AND (staged = 1 OR NOT ?) ORDER BY updated_ms, id LIMIT ?`,
		int64(state), unixtime.Milli(before), staged, limit)
	if err != nil {
		return nil, fmt.Errorf("find stale uploads: %w", err)
	}
	return us, nil
}

// Save implements [upload.Store].
func (s *Store) Save(ctx context.Context, c upload.Change) error {
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		u := c.Upload
		was, err := expect(ctx, tx, u.ID, u.Revision, c.Lease)
		if err != nil {
			return err
		}
		u.Revision++
		if err := update(ctx, tx, was, u, c.EndLease || c.Lease != "" && !c.KeepLease); err != nil {
			return err
		}
		if err := saveObjects(ctx, tx, c); err != nil {
			return err
		}
		if c.Print != nil {
			if err := savePrint(ctx, tx, *c.Print); err != nil {
				return err
			}
		}
		if c.Watched != nil {
			if err := putWatched(ctx, tx, *c.Watched); err != nil {
				return err
			}
		}
		return s.addEvents(ctx, tx, c.Events)
	})
	if err != nil {
		return fmt.Errorf("save upload: %w", err)
	}
	return nil
}

// expect returns an upload and refuses a change made against another state. An empty
// lease is not checked.
func expect(ctx context.Context, tx *sqlitedb.Tx, uploadID string, revision uint64, lease string) (upload.Upload, error) {
	u, err := scanUpload(tx.QueryRowContext(ctx, `SELECT `+row.Upload+` FROM uploads WHERE id = ?`, uploadID))
	if err != nil {
		return u, err
	}
	if u.Revision != revision || lease != "" && u.Lease != lease {
		return u, upload.ErrConflict
	}
	return u, nil
}

// Delete implements [upload.Store].
func (s *Store) Delete(ctx context.Context, uploadID string, revision uint64, events []*eventv1.Envelope) error {
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		if _, err := expect(ctx, tx, uploadID, revision, ""); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM uploads WHERE id = ?`, uploadID); err != nil {
			return err
		}
		return s.addEvents(ctx, tx, events)
	})
	if err != nil {
		return fmt.Errorf("delete upload: %w", err)
	}
	return nil
}
