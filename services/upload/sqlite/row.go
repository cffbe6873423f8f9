package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/services/upload"
	"github.com/segue-music/segue/services/upload/row"
)

const insertUpload = `INSERT INTO uploads (` + row.Upload + `, lease_ms)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0)`

// update changes what differs between two states of an upload. With free its lease ends too.
func update(ctx context.Context, tx *sqlitedb.Tx, was, now upload.Upload, free bool) error {
	columns, args, err := row.Changes(was, now)
	if err != nil {
		return err
	}
	var set []string
	for _, c := range columns {
		set = append(set, c+" = ?")
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

// scanUpload is row.ScanUpload where there may be none.
func scanUpload(r row.Scanner) (upload.Upload, error) {
	u, err := row.ScanUpload(r)
	if errors.Is(err, sql.ErrNoRows) {
		return u, upload.ErrNotFound
	}
	return u, err
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
		u, err := row.ScanUpload(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, rows.Err()
}
