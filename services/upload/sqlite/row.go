package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/services/upload"
)

const columns = `id, owner_id, source, file_name, path, mod_ns, size, received, state, track_id, reason, step,
	progress, attempts, similar, created_ms, updated_ms, revision, sha256, quick, staged, supersedes, generation,
	stage, priority, run_ms, facts, trace, lease`

const insertUpload = `INSERT INTO uploads (` + columns + `, lease_ms)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0)`

// names are those of columns, in the order of values.
var names = strings.FieldsFunc(columns, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) //nolint:gochecknoglobals // a constant

// update changes what differs between two states of an upload: naming an indexed column
// would rewrite its indexes. With free its lease ends too.
func update(ctx context.Context, tx *sqlitedb.Tx, was, now upload.Upload, free bool) error {
	before, err := values(was)
	if err != nil {
		return err
	}
	after, err := values(now)
	if err != nil {
		return err
	}
	var set []string
	var args []any
	for i, v := range after {
		if same(before[i], v) {
			continue
		}
		set, args = append(set, names[i]+" = ?"), append(args, v)
	}
	if free {
		set = append(set, "lease = ''", "lease_ms = 0")
	}
	if len(set) == 0 {
		return nil
	}
	_, err = tx.ExecContext(ctx, "UPDATE uploads SET "+strings.Join(set, ", ")+" WHERE id = ?", append(args, now.ID)...)
	return err
}

func same(a, b any) bool {
	if p, ok := a.([]byte); ok {
		q, _ := b.([]byte)
		return bytes.Equal(p, q)
	}
	return a == b
}

// values are those of columns without the lease.
func values(u upload.Upload) ([]any, error) {
	similar, err := json.Marshal(u.Similar)
	if err != nil {
		return nil, err
	}
	facts, err := json.Marshal(u.Facts)
	if err != nil {
		return nil, err
	}
	return []any{
		u.ID, u.OwnerID, u.Source, u.FileName, []byte(u.Path), nanos(u.ModTime), u.Size, u.Received, int64(u.State),
		u.TrackID, u.Reason, u.Step, int64(u.Progress), int64(u.Attempts), string(similar), u.Created.UnixMilli(),
		u.Updated.UnixMilli(), int64(u.Revision), u.SHA256, u.Quick, u.Staged, u.Supersedes, int64(u.Generation),
		int64(u.Stage), u.Priority, millis(u.RunAt), string(facts), u.Trace,
	}, nil
}

type scanner interface{ Scan(dest ...any) error }

func scanUpload(row scanner) (u upload.Upload, err error) {
	var path []byte
	var mod, created, updated, run int64
	var similar, facts string
	err = row.Scan(&u.ID, &u.OwnerID, &u.Source, &u.FileName, &path, &mod, &u.Size, &u.Received, &u.State,
		&u.TrackID, &u.Reason, &u.Step, &u.Progress, &u.Attempts, &similar, &created, &updated, &u.Revision,
		&u.SHA256, &u.Quick, &u.Staged, &u.Supersedes, &u.Generation, &u.Stage, &u.Priority, &run, &facts, &u.Trace, &u.Lease)
	if errors.Is(err, sql.ErrNoRows) {
		return u, upload.ErrNotFound
	}
	if err != nil {
		return u, err
	}
	u.Path, u.ModTime, u.Created, u.Updated, u.RunAt = string(path), fromNanos(mod), fromMillis(created), fromMillis(updated), fromMillis(run)
	if err := json.Unmarshal([]byte(similar), &u.Similar); err != nil {
		return u, fmt.Errorf("read upload %s: %w", u.ID, err)
	}
	if err := json.Unmarshal([]byte(facts), &u.Facts); err != nil {
		return u, fmt.Errorf("read upload %s: %w", u.ID, err)
	}
	return u, nil
}

// queryer is a reader pool, a snapshot, or a write.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

var _ queryer = (*sqlitedb.Tx)(nil)

func queryUploads(ctx context.Context, q queryer, query string, args ...any) (out []upload.Upload, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		u, err := scanUpload(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, rows.Err()
}

// Times are UTC; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func fromNanos(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
