package pgdb

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/segue-music/segue/internal/fault"
)

var (
	errAway = fault.New(fault.Unavailable, "the database is not available at the moment")
	errText = fault.New(fault.Invalid, "text is not valid UTF-8, or has a zero byte")
)

// Codes are PostgreSQL's (postgresql.org/docs/current/errcodes-appendix.html).
const (
	codeUnique        = "23505"
	codeForeignKey    = "23503"
	codeReadOnly      = "25006"
	codeCharacter     = "22021"
	codeUntranslated  = "22P05"
	codeSerialization = "40001"
	codeDeadlock      = "40P01"
	codeDiskFull      = "53100"
	codeLockTimeout   = "55P03"
	codeCanceled      = "57014"
)

// IsUnique says that a row with the same key exists.
func IsUnique(err error) bool { return code(err) == codeUnique }

// IsForeignKey says that a referenced row does not exist, or is still referenced.
func IsForeignKey(err error) bool { return code(err) == codeForeignKey }

// IsLockTimeout says that another transaction held a lock for longer than lock_timeout.
func IsLockTimeout(err error) bool { return code(err) == codeLockTimeout }

// IsNone says that a look-up by key found no row. No row either has a key that no text
// column can hold.
func IsNone(err error) bool {
	return errors.Is(err, pgx.ErrNoRows) || code(err) == codeCharacter || code(err) == codeUntranslated
}

// lineError is an error on one line: that of a connection has one for each address it tried.
type lineError struct{ error }

func (e lineError) Error() string {
	var parts []string
	for part := range strings.Lines(e.error.Error()) {
		parts = append(parts, strings.TrimSpace(part))
	}
	return strings.Join(parts, " ")
}

func (e lineError) Unwrap() error { return e.error }

func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// class is the first two characters of a code, the kind of trouble.
func class(err error) string {
	if c := code(err); len(c) == 5 {
		return c[:2]
	}
	return ""
}

// collides says that the server asks for the whole transaction again.
func collides(err error) bool { return code(err) == codeSerialization || code(err) == codeDeadlock }

// gone says that the connection that gave err is of no more use, whatever its state says:
// the server ends it, or has become one that takes no writes.
func gone(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Severity == "FATAL" || e.Severity == "PANIC" || e.Code == codeReadOnly)
}

// kind gives an error of the server the kind that a caller can act on. One that has a
// kind, or that the caller's own context made, stays as it is.
func kind(ctx context.Context, err error) error {
	if err == nil || fault.KindOf(err) != 0 || errors.Is(err, ErrClosed) || ctx.Err() != nil {
		return err
	}
	var server *pgconn.PgError
	var connect *pgconn.ConnectError
	switch {
	case code(err) == codeDiskFull:
		return fault.ErrDiskFull.Because(err)
	case code(err) == codeCharacter, code(err) == codeUntranslated:
		return errText.Because(err)
	case collides(err), code(err) == codeCanceled, code(err) == codeLockTimeout:
		return errAway.Because(err)
	case class(err) == "08", class(err) == "53", class(err) == "57", gone(err):
		return errAway.Because(err)
	case errors.As(err, &connect), errors.Is(err, errLost):
		return errAway.Because(err)
	case errors.As(err, &server):
		return err
	}
	return err
}
