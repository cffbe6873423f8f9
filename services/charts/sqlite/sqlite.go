// Package sqlite keeps the charts in one SQLite file.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/services/charts"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options of Open.
type Options struct {
	Now func() time.Time
	Log *slog.Logger
	// Metrics gets the file's figures.
	Metrics prometheus.Registerer
}

// Store is a [charts.Store] on one file.
type Store struct{ db *sqlitedb.DB }

var _ charts.Store = (*Store)(nil)

// Open opens or makes the file at path.
func Open(ctx context.Context, path string, opt Options) (*Store, error) {
	own, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open charts store: %w", err)
	}
	db, err := sqlitedb.Open(ctx, path, sqlitedb.Options{Migrations: own, Log: opt.Log, Now: opt.Now, Metrics: opt.Metrics})
	if err != nil {
		return nil, fmt.Errorf("open charts store: %w", err)
	}
	return &Store{db}, nil
}

// Close waits for writes under way and closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Ping says whether the file can be read and written.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// Count implements [charts.Store].
func (s *Store) Count(ctx context.Context, b charts.Batch) error {
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		var at int64
		err := tx.QueryRowContext(ctx, `SELECT next FROM position WHERE partition = ?`, b.Partition).Scan(&at)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if at != b.From {
			return charts.ErrPosition
		}
		var fresh []charts.Play
		for _, p := range b.Plays {
			r, err := tx.ExecContext(ctx, `INSERT INTO counted (event_id, began) VALUES (?, ?) ON CONFLICT DO NOTHING`, p.EventID, p.Began.UnixMilli())
			if err != nil {
				return err
			}
			if n, err := r.RowsAffected(); err != nil {
				return err
			} else if n > 0 {
				fresh = append(fresh, p)
			}
		}
		for _, a := range charts.Tally(fresh) {
			_, err := tx.ExecContext(ctx, `INSERT INTO total (period, start, market, track_id, plays) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT DO UPDATE SET plays = plays + excluded.plays`, int(a.Period), a.Start.UnixMilli(), a.Market, a.TrackID, a.Plays)
			if err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT OR REPLACE INTO position (partition, next) VALUES (?, ?)`, b.Partition, b.Next)
		return err
	})
	if err != nil {
		return fmt.Errorf("count plays: %w", err)
	}
	return nil
}

// number reads one number; other where there is none.
func (s *Store) number(ctx context.Context, other int64, query string, args ...any) (n int64, err error) {
	err = s.db.Reader().QueryRowContext(ctx, query, args...).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return other, nil
	}
	return n, err
}

// Position implements [charts.Store].
func (s *Store) Position(ctx context.Context, partition int32) (int64, error) {
	n, err := s.number(ctx, 0, `SELECT next FROM position WHERE partition = ?`, partition)
	if err != nil {
		return 0, fmt.Errorf("read position: %w", err)
	}
	return n, nil
}

// Revision implements [charts.Store].
func (s *Store) Revision(ctx context.Context, p charts.Period, start time.Time) (int64, error) {
	n, err := s.number(ctx, -1, `SELECT revision FROM snapshot WHERE period = ? AND start = ?`, int(p), start.UnixMilli())
	if err != nil {
		return 0, fmt.Errorf("read revision: %w", err)
	}
	return n, nil
}

// Replace implements [charts.Store].
func (s *Store) Replace(ctx context.Context, n charts.Snapshot) error {
	p, start := int(n.Period), n.Start.UnixMilli()
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		r, err := tx.ExecContext(ctx, `INSERT INTO snapshot (period, start, revision) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET revision = excluded.revision WHERE revision < excluded.revision`, p, start, n.Revision)
		if err != nil {
			return err
		}
		if changed, err := r.RowsAffected(); err != nil || changed == 0 {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM total WHERE period = ? AND start = ?`, p, start); err != nil {
			return err
		}
		for market, list := range n.Markets {
			for _, e := range list {
				_, err := tx.ExecContext(ctx, `INSERT INTO total (period, start, market, track_id, plays) VALUES (?, ?, ?, ?, ?)`,
					p, start, market, e.TrackID, int64(e.Plays))
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("replace chart: %w", err)
	}
	return nil
}

// Top implements [charts.Store].
func (s *Store) Top(ctx context.Context, k charts.Key, n int) (out []charts.Entry, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT track_id, plays FROM total
		WHERE period = ? AND start = ? AND market = ? ORDER BY plays DESC, track_id LIMIT ?`, int(k.Period), k.Start.UnixMilli(), k.Market, n)
	if err != nil {
		return nil, fmt.Errorf("read chart: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e charts.Entry
		if err := rows.Scan(&e.TrackID, &e.Plays); err != nil {
			return nil, fmt.Errorf("read chart: %w", err)
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

// Prune implements [charts.Store].
func (s *Store) Prune(ctx context.Context, t time.Time) error {
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM counted WHERE began < ?`, t.UnixMilli()); err != nil {
			return err
		}
		for _, p := range charts.Periods() {
			last := t.Add(-p.Length()).UnixMilli()
			for _, table := range []string{"total", "snapshot"} {
				if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE period = ? AND start <= ?`, int(p), last); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("prune charts: %w", err)
	}
	return nil
}
