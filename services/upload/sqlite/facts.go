package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/internal/unixtime"
	"github.com/segue-music/segue/services/upload"
	"github.com/segue-music/segue/services/upload/row"
)

func saveObjects(ctx context.Context, tx *sqlitedb.Tx, c upload.Change) error {
	for _, o := range c.Objects {
		_, err := tx.ExecContext(ctx, `INSERT INTO objects (`+row.Object+`) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET upload_id = excluded.upload_id, track_id = excluded.track_id,
			kbps = excluded.kbps, state = excluded.state, at_ms = excluded.at_ms`,
			row.OfObject(o)...)
		if err != nil {
			return err
		}
	}
	if !c.RetireOthers {
		return nil
	}
	_, err := tx.ExecContext(ctx, `UPDATE objects SET state = ?, at_ms = ? WHERE track_id = ? AND upload_id <> ? AND state = ?`,
		int64(upload.ObjectRetired), unixtime.Milli(c.Upload.Updated), c.Upload.TrackID, c.Upload.ID, int64(upload.ObjectPublished))
	return err
}

// Objects implements [upload.Store].
func (s *Store) Objects(ctx context.Context, uploadID string) ([]upload.Object, error) {
	return s.queryObjects(ctx, `upload_id = ? ORDER BY kbps, id`, uploadID)
}

// StaleObjects implements [upload.Store].
func (s *Store) StaleObjects(ctx context.Context, state upload.ObjectState, before time.Time, limit int) ([]upload.Object, error) {
	return s.queryObjects(ctx, `state = ? AND at_ms < ? ORDER BY at_ms, id LIMIT ?`, int64(state), unixtime.Milli(before), limit)
}

func (s *Store) queryObjects(ctx context.Context, where string, args ...any) (out []upload.Object, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT `+row.Object+` FROM objects WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("list objects: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		o, err := row.ScanObject(rows)
		if err != nil {
			return nil, fmt.Errorf("list objects: %w", err)
		}
		out = append(out, o)
	}
	return out, rows.Err()
}

// DropObject implements [upload.Store].
func (s *Store) DropObject(ctx context.Context, objectID string) error {
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM objects WHERE id = ?`, objectID)
		return err
	})
	if err != nil {
		return fmt.Errorf("drop object: %w", err)
	}
	return nil
}

func savePrint(ctx context.Context, tx *sqlitedb.Tx, p upload.Print) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM prints WHERE track_id = ?`, p.TrackID); err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO prints (`+row.Print+`) VALUES (?, ?, ?, ?)`, row.OfPrint(p)...)
	if err != nil {
		return err
	}
	n, err := res.LastInsertId()
	if err != nil {
		return err
	}
	for _, term := range row.Terms(p) {
		if _, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO print_terms (term, n) VALUES (?, ?)`, term, n); err != nil {
			return err
		}
	}
	return nil
}

// Print implements [upload.Store].
func (s *Store) Print(ctx context.Context, trackID string) (upload.Print, error) {
	p, err := row.ScanPrint(s.db.Reader().QueryRowContext(ctx, `SELECT `+row.Print+` FROM prints WHERE track_id = ?`, trackID))
	if errors.Is(err, sql.ErrNoRows) {
		err = upload.ErrNotFound
	}
	if err != nil {
		return upload.Print{}, fmt.Errorf("get print: %w", err)
	}
	return p, nil
}

// SimilarPrints implements [upload.Store].
func (s *Store) SimilarPrints(ctx context.Context, p upload.Print, share, limit int) (out []upload.Print, err error) {
	args := make([]any, 0, len(p.Terms)+4)
	terms := "NULL"
	if len(p.Terms) > 0 {
		terms = "?" + strings.Repeat(", ?", len(p.Terms)-1)
		for _, t := range row.Terms(p) {
			args = append(args, t)
		}
	}
	args = append(args, share, p.PCM, p.TrackID, limit)
	// An equal hash of the PCM counts for more than any share of terms.
	rows, err := s.db.Reader().QueryContext(ctx, `
		WITH found (n, score) AS (
			SELECT n, count(*) FROM print_terms WHERE term IN (`+terms+`) GROUP BY n HAVING count(*) >= ?
			UNION ALL SELECT n, 1000000 FROM prints WHERE pcm = ? AND pcm <> ''
		)
		SELECT `+row.Print+` FROM prints JOIN (SELECT n, max(score) AS score FROM found GROUP BY n) USING (n)
		WHERE track_id <> ? ORDER BY score DESC, n LIMIT ?`, args...)
	if err != nil {
		return nil, fmt.Errorf("find similar prints: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		q, err := row.ScanPrint(rows)
		if err != nil {
			return nil, fmt.Errorf("find similar prints: %w", err)
		}
		out = append(out, q)
	}
	return out, rows.Err()
}

func putWatched(ctx context.Context, tx *sqlitedb.Tx, f upload.WatchedFile) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO watched (`+row.Watched+`) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (folder, path) DO UPDATE SET size = excluded.size, mod_ns = excluded.mod_ns,
		device = excluded.device, inode = excluded.inode, upload_id = excluded.upload_id`,
		row.OfWatched(f)...)
	return err
}

// WatchedFiles implements [upload.Store].
func (s *Store) WatchedFiles(ctx context.Context, folder string) iter.Seq2[upload.WatchedFile, error] {
	return func(yield func(upload.WatchedFile, error) bool) {
		rows, err := s.db.Reader().QueryContext(ctx,
			`SELECT `+row.Watched+` FROM watched WHERE folder = ? ORDER BY path`, folder)
		if err != nil {
			yield(upload.WatchedFile{}, fmt.Errorf("list watched files: %w", err))
			return
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			f, err := row.ScanWatched(rows)
			if err != nil {
				yield(f, fmt.Errorf("list watched files: %w", err))
				return
			}
			if !yield(f, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(upload.WatchedFile{}, fmt.Errorf("list watched files: %w", err))
		}
	}
}

// MoveWatched implements [upload.Store].
func (s *Store) MoveWatched(ctx context.Context, folder, from, to string) error {
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM watched WHERE folder = ? AND path = ?`, folder, []byte(to)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE watched SET path = ? WHERE folder = ? AND path = ?`, []byte(to), folder, []byte(from)); err != nil {
			return err
		}
		// A job that has not read its file yet has to find it.
		_, err := tx.ExecContext(ctx, `UPDATE uploads SET path = ?1, revision = revision + 1 WHERE id = (SELECT upload_id FROM watched WHERE folder = ?2 AND path = ?1)`,
			[]byte(to), folder)
		return err
	})
	if err != nil {
		return fmt.Errorf("move watched file: %w", err)
	}
	return nil
}
