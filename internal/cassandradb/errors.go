package cassandradb

import (
	"context"
	"errors"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/segue-music/segue/internal/fault"
)

var (
	// ErrClosed is returned by every use of a closed DB.
	ErrClosed = errors.New("database is closed")
	// ErrSchema says that the keyspace has another version than this program works with.
	ErrSchema = errors.New("database schema is not of this program")
	// ErrUnknown says that the ring was lost in a conditional write and cannot tell its
	// outcome: the change was made, or may still be made, or was not.
	ErrUnknown = fault.New(fault.Unavailable, "it is not known whether the change was made, read again")

	errAway        = fault.New(fault.Unavailable, "the database is not available at the moment")
	errNoStatement = errors.New("nothing to write")
)

// kind gives an error of the ring the kind that a caller can act on. One that the
// caller's own context made stays as it is.
func (db *DB) kind(ctx context.Context, err error) error {
	switch {
	case err == nil || fault.KindOf(err) != 0:
		return err
	case db.closed.Load() || errors.Is(err, gocql.ErrSessionClosed):
		return errors.Join(ErrClosed, err)
	case ctx.Err() != nil || mistake(err):
		return err
	}
	return errAway.Because(err)
}

// mistake says that a statement can never be done as it is: it is ours that is wrong.
func mistake(err error) bool {
	var re gocql.RequestError
	if !errors.As(err, &re) {
		return false
	}
	switch re.Code() {
	case gocql.ErrCodeSyntax, gocql.ErrCodeInvalid, gocql.ErrCodeUnauthorized, gocql.ErrCodeConfig, gocql.ErrCodeProtocol:
		return true
	}
	return false
}
