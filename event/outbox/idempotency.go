package outbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/segue-music/segue/internal/sqlitedb"
)

// KeepReplies is how long the reply to an idempotency key is kept.
const KeepReplies = 24 * time.Hour

// maxIdempotencyKey bounds a key in bytes.
const maxIdempotencyKey = 128

var (
	// ErrKeyReused refuses a key that came with another request before.
	ErrKeyReused = errors.New("idempotency key was used for another request")
	// ErrKeyMalformed refuses a key that is empty or over 128 bytes.
	ErrKeyMalformed = errors.New("idempotency key is malformed")
)

// Once does a change at most once per caller and key. The first call runs do, whose
// reply is kept with the change; a repeat within [KeepReplies] gets that reply and do
// does not run. request is the encoded request, of which a digest is kept.
func (o *Outbox) Once(ctx context.Context, tx *sqlitedb.Tx, caller, key string, request []byte, do func() ([]byte, error)) ([]byte, error) {
	if key == "" || len(key) > maxIdempotencyKey {
		return nil, ErrKeyMalformed
	}
	now, digest := o.db.Now(), sha256.Sum256(request)
	var before, reply []byte
	err := tx.QueryRowContext(ctx, `SELECT request, reply FROM idempotency WHERE caller = ? AND key = ? AND created > ?`,
		caller, key, now.Add(-KeepReplies).Unix()).Scan(&before, &reply)
	switch {
	case err == nil && !bytes.Equal(before, digest[:]):
		return nil, ErrKeyReused
	case err == nil:
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
		caller, key, digest[:], reply, now.Unix())
	if err != nil {
		return nil, fmt.Errorf("keep reply: %w", err)
	}
	return reply, nil
}
