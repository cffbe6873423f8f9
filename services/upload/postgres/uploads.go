package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/pgdb"
	"github.com/segue-music/segue/internal/unixtime"
	"github.com/segue-music/segue/services/upload"
	"github.com/segue-music/segue/services/upload/row"
)

const insertUpload = `INSERT INTO uploads (` + row.Upload + `, lease_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
	$12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, '', 0)`

// Create implements [upload.Store].
func (s *Store) Create(ctx context.Context, c upload.Creation) error {
	err := s.db.Write(ctx, func(tx *pgdb.Tx) error {
		owners := map[string]bool{}
		var b pgx.Batch
		for _, u := range c.Uploads {
			args, err := row.OfUpload(u)
			if err != nil {
				return err
			}
			b.Queue(insertUpload, args...)
			owners[u.OwnerID] = true
		}
		inOrder := slices.Sorted(maps.Keys(owners))
		if err := lockOwners(ctx, tx, inOrder, c.Bounds); err != nil {
			return err
		}
		for _, f := range c.Files {
			b.Queue(putWatched, row.OfWatched(f)...)
		}
		if err := tx.Batch(ctx, &b); pgdb.IsUnique(err) {
			return upload.ErrExists
		} else if err != nil {
			return err
		}
		for _, owner := range inOrder {
			if err := checkBounds(ctx, tx, owner, c.Bounds); err != nil {
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

// lockOwners has creations of an owner wait for each other where they are counted, always
// in the same order.
func lockOwners(ctx context.Context, tx *pgdb.Tx, owners []string, b upload.Bounds) error {
	if b == (upload.Bounds{}) {
		return nil
	}
	for _, owner := range owners {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1, $2)`, pgdb.LockQuota, pgdb.LockKey(owner)); err != nil {
			return err
		}
	}
	return nil
}

// checkBounds runs after the inserts, so that they count.
func checkBounds(ctx context.Context, tx *pgdb.Tx, owner string, b upload.Bounds) error {
	if b == (upload.Bounds{}) {
		return nil
	}
	var bytes, open int64
	err := tx.QueryRow(ctx, sumHeld, owner).Scan(&bytes, &open)
	switch {
	case err != nil:
		return err
	case b.Bytes > 0 && bytes > b.Bytes:
		return upload.ErrQuota
	case b.Open > 0 && open > int64(b.Open):
		return upload.ErrTooManyOpen
	}
	return nil
}

const sumHeld = `SELECT coalesce(sum(size), 0)::bigint, count(*) FILTER (WHERE state = 1) FROM uploads
	WHERE owner_id = $1 AND (state = 1 OR staged)`

const selectUploads = `SELECT ` + row.Upload + ` FROM uploads `

// Get implements [upload.Store].
func (s *Store) Get(ctx context.Context, uploadID string) (upload.Upload, error) {
	return one(ctx, s, row.ScanUpload, "get upload", selectUploads+`WHERE id = $1`, uploadID)
}

// GetMany implements [upload.Store].
func (s *Store) GetMany(ctx context.Context, ids []string) ([]upload.Upload, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return query(ctx, s, row.ScanUpload, "get uploads", selectUploads+`WHERE id = ANY ($1)`, ids)
}

const byTrack = selectUploads + `WHERE track_id = $1 AND track_id <> '' AND state <> $2 ORDER BY id DESC LIMIT 1`

// ByTrack implements [upload.Store].
func (s *Store) ByTrack(ctx context.Context, trackID string) (upload.Upload, error) {
	return one(ctx, s, row.ScanUpload, "get upload of track", byTrack, trackID, int64(upload.Duplicate))
}

// listQuery is a page of List and one upload more.
func listQuery(q upload.Query, before string) (query string, args []any) {
	var where []string
	and := func(cond string, arg any) {
		args = append(args, arg)
		where = append(where, cond+" $"+strconv.Itoa(len(args)))
	}
	if q.OwnerID != "" {
		and("owner_id =", q.OwnerID)
	}
	if q.State != 0 {
		and("state =", int64(q.State))
	}
	if before != "" {
		and("id <", before)
	}
	query = selectUploads
	if len(where) > 0 {
		query += "WHERE " + strings.Join(where, " AND ")
	}
	args = append(args, q.Size+1)
	return query + " ORDER BY id DESC LIMIT $" + strconv.Itoa(len(args)), args
}

// List implements [upload.Store].
func (s *Store) List(ctx context.Context, q upload.Query) (upload.Page, error) {
	before := ""
	if q.Token != "" {
		var err error
		if before, err = row.Before(q.Token); err != nil {
			return upload.Page{}, fmt.Errorf("list uploads: %w", err)
		}
	}
	text, args := listQuery(q, before)
	us, err := query(ctx, s, row.ScanUpload, "list uploads", text, args...)
	return row.Page(us, q.Size), err
}

const changedSince = selectUploads + `WHERE owner_id = $1 AND updated_ms >= $2 ORDER BY updated_ms, id LIMIT $3`

// ChangedSince implements [upload.Store].
func (s *Store) ChangedSince(ctx context.Context, ownerID string, since time.Time, limit int) ([]upload.Upload, error) {
	return query(ctx, s, row.ScanUpload, "get changed uploads", changedSince, ownerID, unixtime.Milli(since), limit)
}

// Counts implements [upload.Store].
func (s *Store) Counts(ctx context.Context) (map[upload.State]uint64, error) {
	type count struct {
		state upload.State
		n     uint64
	}
	all, err := query(ctx, s, func(r row.Scanner) (c count, err error) { return c, r.Scan(&c.state, &c.n) },
		"count uploads", `SELECT state, count(*) FROM uploads GROUP BY state`)
	if err != nil {
		return nil, err
	}
	out := map[upload.State]uint64{}
	for _, c := range all {
		out[c.state] = c.n
	}
	return out, nil
}

const twins = selectUploads + `WHERE owner_id = $1 AND size = $2 AND quick = $3 AND quick <> '' AND state NOT IN ($4, $5) ORDER BY id`

// Twins implements [upload.Store].
func (s *Store) Twins(ctx context.Context, ownerID string, size int64, quick string) ([]upload.Upload, error) {
	return query(ctx, s, row.ScanUpload, "find twins", twins, ownerID, size, quick, int64(upload.Failed), int64(upload.Duplicate))
}

const stale = selectUploads + `WHERE state = $1 AND updated_ms < $2 AND (staged OR NOT $3) ORDER BY updated_ms, id LIMIT $4`

// Stale implements [upload.Store].
func (s *Store) Stale(ctx context.Context, state upload.State, staged bool, before time.Time, limit int) ([]upload.Upload, error) {
	return query(ctx, s, row.ScanUpload, "find stale uploads", stale, int64(state), unixtime.Milli(before), staged, limit)
}

// Save implements [upload.Store].
func (s *Store) Save(ctx context.Context, c upload.Change) error {
	err := s.db.Write(ctx, func(tx *pgdb.Tx) error {
		u := c.Upload
		was, err := expect(ctx, tx, u.ID, u.Revision, c.Lease)
		if err != nil {
			return err
		}
		u.Revision++
		var b pgx.Batch
		if err := update(&b, was, u, c.EndLease || c.Lease != "" && !c.KeepLease); err != nil {
			return err
		}
		saveObjects(&b, c)
		if c.Print != nil {
			savePrint(&b, *c.Print)
		}
		if c.Watched != nil {
			b.Queue(putWatched, row.OfWatched(*c.Watched)...)
		}
		if err := tx.Batch(ctx, &b); err != nil {
			return err
		}
		return s.addEvents(ctx, tx, c.Events)
	})
	if err != nil {
		return fmt.Errorf("save upload: %w", err)
	}
	return nil
}

// update changes what differs between two states of an upload. With free its lease ends too.
func update(b *pgx.Batch, was, now upload.Upload, free bool) error {
	columns, args, err := row.Changes(was, now)
	if err != nil {
		return err
	}
	var set []string
	for i, c := range columns {
		set = append(set, c+" = $"+strconv.Itoa(i+1))
	}
	if free {
		set = append(set, "lease = ''", "lease_ms = 0")
	}
	args = append(args, now.ID)
	b.Queue("UPDATE uploads SET "+strings.Join(set, ", ")+" WHERE id = $"+strconv.Itoa(len(args)), args...)
	return nil
}

// expect locks an upload and refuses a change made against another state. An empty lease
// is not checked.
func expect(ctx context.Context, tx *pgdb.Tx, uploadID string, revision uint64, lease string) (upload.Upload, error) {
	u, err := row.ScanUpload(tx.QueryRow(ctx, selectUploads+`WHERE id = $1 FOR UPDATE`, uploadID))
	if pgdb.IsNone(err) {
		return u, upload.ErrNotFound
	}
	if err == nil && (u.Revision != revision || lease != "" && u.Lease != lease) {
		return u, upload.ErrConflict
	}
	return u, err
}

// Delete implements [upload.Store].
func (s *Store) Delete(ctx context.Context, uploadID string, revision uint64, events []*eventv1.Envelope) error {
	err := s.db.Write(ctx, func(tx *pgdb.Tx) error {
		if _, err := expect(ctx, tx, uploadID, revision, ""); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM uploads WHERE id = $1`, uploadID); err != nil {
			return err
		}
		return s.addEvents(ctx, tx, events)
	})
	if err != nil {
		return fmt.Errorf("delete upload: %w", err)
	}
	return nil
}
