package pgbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/internal/pgdb"
)

// Once does a change at most once per caller and key. The first call runs do, whose
// reply is kept with the change; a repeat within [outbox.KeepReplies] gets that reply and
// do does not run. Of calls at the same time one runs it and the others wait for its end.
// request is the encoded request, of which a digest is kept. [outbox.ErrKeyReused],
// [outbox.ErrKeyMalformed].
func (o *Outbox) Once(ctx context.Context, tx *pgdb.Tx, caller, key string, request []byte, do func() ([]byte, error)) ([]byte, error) {
	digest, err := outbox.Digest(key, request)
	if err != nil {
		return nil, err
	}
	now := o.db.Now()
	// The key is taken first: it is what another call with it waits for.
	var mine bool
	err = tx.QueryRow(ctx, `INSERT INTO idempotency AS i (caller, key, request, reply, created) VALUES ($1, $2, $3, '', $4)
		ON CONFLICT (caller, key) DO UPDATE SET request = excluded.request, reply = '', created = excluded.created
		WHERE i.created <= $5 RETURNING true`, caller, key, digest, now.Unix(), now.Add(-outbox.KeepReplies).Unix()).Scan(&mine)
	if errors.Is(err, pgx.ErrNoRows) {
		return repeat(ctx, tx, caller, key, digest)
	}
	if err != nil {
		return nil, fmt.Errorf("take idempotency key: %w", err)
	}
	reply, err := do()
	if err != nil {
		return nil, err
	}
	if reply == nil {
		reply = []byte{}
	}
	if _, err := tx.Exec(ctx, `UPDATE idempotency SET reply = $3 WHERE caller = $1 AND key = $2`, caller, key, reply); err != nil {
		return nil, fmt.Errorf("keep reply: %w", err)
	}
	return reply, nil
}

func repeat(ctx context.Context, tx *pgdb.Tx, caller, key string, digest []byte) ([]byte, error) {
	var before, reply []byte
	err := tx.QueryRow(ctx, `SELECT request, reply FROM idempotency WHERE caller = $1 AND key = $2`, caller, key).Scan(&before, &reply)
	if err != nil {
		return nil, fmt.Errorf("look up idempotency key: %w", err)
	}
	if err := outbox.CheckRepeat(before, digest); err != nil {
		return nil, err
	}
	return reply, nil
}

// Forget implements outbox.Source.
func (o *Outbox) Forget(ctx context.Context) error {
	err := o.db.Write(ctx, func(tx *pgdb.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM idempotency WHERE created <= $1`, o.db.Now().Add(-outbox.KeepReplies).Unix())
		return err
	})
	return closed(err)
}
