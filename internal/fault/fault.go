// Package fault is the kinds of error that cross a service's border. A service declares
// its sentinels with [New]; whatever has no kind is an internal error, of which the
// outside learns nothing but a request id.
package fault

import (
	"errors"
	"net/http"
	"time"
)

// Kind says what a caller can do about an error.
type Kind uint8

// The kinds. 0 is none: an internal error.
const (
	Invalid         Kind = iota + 1 // mend the request
	Unauthenticated                 // sign in
	Denied                          // not for this caller
	NotFound                        // there is none, or not for this caller
	Exists                          // it is there already
	Conflict                        // it changed meanwhile: read again
	Exhausted                       // too much or too often: later, or less
	Unavailable                     // not now: try again
)

// Error is an error of a kind. Its text is for the caller and holds nothing private.
type Error struct {
	kind   Kind
	text   string
	root   *Error // what errors.Is finds
	cause  error  // for the log only
	retry  time.Duration
	fields []Field
}

// Field is one violated field of a request.
type Field struct{ Name, Text string }

// New makes a sentinel: var ErrNotFound = fault.New(fault.NotFound, "track not found").
func New(k Kind, text string) *Error {
	e := &Error{kind: k, text: text}
	e.root = e
	return e
}

// Error is the public text, and the cause behind it for the log.
func (e *Error) Error() string {
	if e.cause != nil {
		return e.text + ": " + e.cause.Error()
	}
	return e.text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is the sentinel that e was made from.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.root == e.root
}

// With is e with a public detail after its text.
func (e *Error) With(detail string) *Error {
	c := *e
	c.text += ": " + detail
	return &c
}

// Because is e with a private cause, which errors.Is and the log see and callers do not.
func (e *Error) Because(cause error) error {
	c := *e
	c.cause = cause
	return &c
}

// RetryIn is e with the time after which a repeat makes sense.
func (e *Error) RetryIn(d time.Duration) *Error {
	c := *e
	c.retry = d
	return &c
}

// Fields is e with the fields of the request that were refused.
func (e *Error) Fields(f ...Field) *Error {
	c := *e
	c.fields = f
	return &c
}

// KindOf is the kind of the outermost Error in err's chain, 0 when there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.kind
	}
	return 0
}

// Public is what a caller may read: never more than the text of an Error.
func Public(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.text
	}
	return "internal error"
}

// RetryAfter is when a repeat makes sense; 0 when nothing was said.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.retry
	}
	return 0
}

// FieldsOf are the refused fields, none when nothing was said.
func FieldsOf(err error) []Field {
	var e *Error
	if errors.As(err, &e) {
		return e.fields
	}
	return nil
}

// HTTPStatus is the status of err on a plain HTTP route.
func HTTPStatus(err error) int {
	switch KindOf(err) {
	case Invalid:
		return http.StatusBadRequest
	case Unauthenticated:
		return http.StatusUnauthorized
	case Denied:
		return http.StatusForbidden
	case NotFound:
		return http.StatusNotFound
	case Exists, Conflict:
		return http.StatusConflict
	case Exhausted:
		if errors.Is(err, ErrDiskFull) {
			return http.StatusInsufficientStorage
		}
		return http.StatusTooManyRequests
	case Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// String is the kind's name as logs and metrics have it.
func (k Kind) String() string {
	names := [...]string{"internal", "invalid", "unauthenticated", "denied", "not_found", "exists", "conflict", "exhausted", "unavailable"}
	if int(k) < len(names) {
		return names[k]
	}
	return "internal"
}
