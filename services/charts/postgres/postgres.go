// Package postgres is the engine of the charts' store for many processes: one PostgreSQL
// schema.
package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/segue-music/segue/internal/pgdb"
	"github.com/segue-music/segue/services/charts"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema are the tables of the store, for pgdb.Migrate.
func Schema() (pgdb.Schema, error) {
	own, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return pgdb.Schema{}, fmt.Errorf("charts schema: %w", err)
	}
	return pgdb.Schema{Name: "charts", Modules: []pgdb.Module{{Name: "charts", Migrations: own}}}, nil
}

// Store is a [charts.Store] that many processes share.
type Store struct{ db *pgdb.DB }

var _ charts.Store = (*Store)(nil)

// Open connects to the database of c, which has [Schema].
func Open(ctx context.Context, c pgdb.Config, o pgdb.Options) (*Store, error) {
	schema, err := Schema()
	if err != nil {
		return nil, err
	}
	db, err := pgdb.Open(ctx, c, schema, o)
	if err != nil {
		return nil, fmt.Errorf("open charts store: %w", err)
	}
	return &Store{db}, nil
}

// Close waits for what is under way and closes the connections.
func (s *Store) Close() error { return s.db.Close() }

// Ping says whether the database can be read and written.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// Count implements [charts.Store]. Events and cells are written in one order by everybody,
// so that partitions with the same tracks wait for each other and never in a circle.
func (s *Store) Count(ctx context.Context, b charts.Batch) error {
	err := s.db.Write(ctx, func(tx *pgdb.Tx) error {
		// The partition's row first: of several that count one batch the others wait here.
		tag, err := tx.Exec(ctx, `INSERT INTO position AS p (partition, next) SELECT $1, $3 WHERE $2 = 0
			ON CONFLICT (partition) DO UPDATE SET next = excluded.next WHERE p.next = 0`, b.Partition, b.From, b.Next)
		if err == nil && b.From != 0 {
			tag, err = tx.Exec(ctx, `UPDATE position SET next = $3 WHERE partition = $1 AND next = $2`, b.Partition, b.From, b.Next)
		}
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return charts.ErrPosition
		}
		fresh, err := uncounted(ctx, tx, b.Plays)
		if err != nil {
			return err
		}
		return add(ctx, tx, charts.Tally(fresh))
	})
	if err != nil {
		return fmt.Errorf("count plays: %w", err)
	}
	return nil
}

// uncounted notes the events of plays and returns those that were not noted before.
func uncounted(ctx context.Context, tx *pgdb.Tx, plays []charts.Play) (fresh []charts.Play, err error) {
	if len(plays) == 0 {
		return nil, nil
	}
	of := map[string]charts.Play{}
	var ids []string
	for _, p := range plays {
		if _, twice := of[p.EventID]; !twice {
			of[p.EventID] = p
			ids = append(ids, p.EventID)
		}
	}
	slices.Sort(ids)
	began := make([]int64, len(ids))
	for i, id := range ids {
		began[i] = of[id].Began.UnixMilli()
	}
	rows, err := tx.Query(ctx, `INSERT INTO counted (event_id, began) SELECT * FROM unnest($1::text[], $2::bigint[])
		ON CONFLICT DO NOTHING RETURNING event_id`, ids, began)
	if err != nil {
		return nil, err
	}
	ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
	for _, id := range ids {
		fresh = append(fresh, of[id])
	}
	return fresh, err
}

func add(ctx context.Context, tx *pgdb.Tx, list []charts.Added) error {
	if len(list) == 0 {
		return nil
	}
	var periods []int16
	var starts, plays []int64
	var markets, tracks []string
	for _, a := range list {
		periods, starts, plays = append(periods, int16(a.Period)), append(starts, a.Start.UnixMilli()), append(plays, a.Plays)
		markets, tracks = append(markets, a.Market), append(tracks, a.TrackID)
	}
	_, err := tx.Exec(ctx, `INSERT INTO total AS t (period, start, market, track_id, plays)
		SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[])
		ON CONFLICT (period, start, market, track_id) DO UPDATE SET plays = t.plays + excluded.plays`, periods, starts, markets, tracks, plays)
	return err
}

// number reads one number; other where there is none.
func (s *Store) number(ctx context.Context, other int64, query string, args ...any) (n int64, err error) {
	err = s.db.Read(ctx, func(q pgdb.Queryer) error {
		err := q.QueryRow(ctx, query, args...).Scan(&n)
		if pgdb.IsNone(err) {
			n, err = other, nil
		}
		return err
	})
	return n, err
}

// Position implements [charts.Store].
func (s *Store) Position(ctx context.Context, partition int32) (int64, error) {
	n, err := s.number(ctx, 0, `SELECT next FROM position WHERE partition = $1`, partition)
	if err != nil {
		return 0, fmt.Errorf("read position: %w", err)
	}
	return n, nil
}

// Revision implements [charts.Store].
func (s *Store) Revision(ctx context.Context, p charts.Period, start time.Time) (int64, error) {
	n, err := s.number(ctx, -1, `SELECT revision FROM snapshot WHERE period = $1 AND start = $2`, int16(p), start.UnixMilli())
	if err != nil {
		return 0, fmt.Errorf("read revision: %w", err)
	}
	return n, nil
}

// Replace implements [charts.Store].
func (s *Store) Replace(ctx context.Context, n charts.Snapshot) error {
	p, start := int16(n.Period), n.Start.UnixMilli()
	err := s.db.Write(ctx, func(tx *pgdb.Tx) error {
		tag, err := tx.Exec(ctx, `INSERT INTO snapshot AS s (period, start, revision) VALUES ($1, $2, $3)
			ON CONFLICT (period, start) DO UPDATE SET revision = excluded.revision WHERE s.revision < excluded.revision`, p, start, n.Revision)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM total WHERE period = $1 AND start = $2`, p, start); err != nil {
			return err
		}
		var list []charts.Added
		for market, entries := range n.Markets {
			for _, e := range entries {
				c := charts.Cell{Key: charts.Key{Period: n.Period, Start: n.Start, Market: market}, TrackID: e.TrackID}
				list = append(list, charts.Added{Cell: c, Plays: int64(e.Plays)})
			}
		}
		return add(ctx, tx, list)
	})
	if err != nil {
		return fmt.Errorf("replace chart: %w", err)
	}
	return nil
}

const top = `SELECT track_id, plays FROM total WHERE period = $1 AND start = $2 AND market = $3 ORDER BY plays DESC, track_id LIMIT $4`

// Top implements [charts.Store].
func (s *Store) Top(ctx context.Context, k charts.Key, n int) (out []charts.Entry, err error) {
	err = s.db.Read(ctx, func(q pgdb.Queryer) error {
		rows, err := q.Query(ctx, top, int16(k.Period), k.Start.UnixMilli(), k.Market, n)
		if err != nil {
			return err
		}
		out, err = pgx.AppendRows([]charts.Entry(nil), rows, pgx.RowToStructByPos[charts.Entry])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read chart: %w", err)
	}
	return out, nil
}

// Prune implements [charts.Store].
func (s *Store) Prune(ctx context.Context, t time.Time) error {
	err := s.db.Write(ctx, func(tx *pgdb.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM counted WHERE began < $1`, t.UnixMilli()); err != nil {
			return err
		}
		for _, p := range charts.Periods() {
			last := t.Add(-p.Length()).UnixMilli()
			for _, table := range []string{"total", "snapshot"} {
				if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE period = $1 AND start <= $2`, int16(p), last); err != nil {
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
