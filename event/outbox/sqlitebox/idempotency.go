package sqlitebox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/internal/sqlitedb"
)

// Once does a change at most once per caller and key. The first call runs do, whose
// reply is kept with the change; a repeat within [outbox.KeepReplies] gets that reply and
// do does not run. request is the encoded request, of which a digest is kept.
// [outbox.ErrKeyReused], [outbox.ErrKeyMalformed].
func (o *Outbox) Once(ctx context.Context, tx *sqlitedb.Tx, caller, key string, request []byte, do func() ([]byte, error)) ([]byte, error) {
	digest, err := outbox.Digest(key, request)
	if err != nil {
		return nil, err
	}
	now := o.db.Now()
	var before, reply []byte
	err = tx.QueryRowContext(ctx, `SELECT request, reply FROM idempotency WHERE caller = ? AND key = ? AND created > ?`,
		caller, key, now.Add(-outbox.KeepReplies).Unix()).Scan(&before, &reply)
	switch {
	case err == nil:
		if err := outbox.CheckRepeat(before, digest); err != nil {
			return nil, err
		}
		return reply, nil
	case !errors.Is(err, sql.ErrNoRows):
		return nil, fmt.Errorf("look up idempotency key: %w", err)
	}
	if reply, err = do(); err != nil {
		return nil, err
	}
	if reply == nil {
		reply = []byte{}
	}
	_, err = tx.ExecContext(ctx, `INSERT OR REPLACE INTO idempotency (caller, key, request, reply, created) VALUES (?, ?, ?, ?, ?)`,
		caller, key, digest, reply, now.Unix())
	if err != nil {
		return nil, fmt.Errorf("keep reply: %w", err)
	}
	return reply, nil
}

// Forget implements outbox.Source.
func (o *Outbox) Forget(ctx context.Context) error {
	err := o.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM idempotency WHERE created <= ?`, o.db.Now().Add(-outbox.KeepReplies).Unix())
		return err
	})
	return closed(err)
}
