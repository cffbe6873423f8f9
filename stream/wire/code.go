package wire

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Code says why a stream ended. On QUIC and WebTransport it is also the
// application error code of streams and connections; 0 is good order.
type Code uint64

// The codes of an ERR frame.
const (
	BadFrame           Code = 1
	TicketExpired      Code = 2
	TicketInvalid      Code = 3
	NotFound           Code = 4
	NotEntitled        Code = 5
	PlayingElsewhere   Code = 6
	RateLimited        Code = 7
	QualityUnavailable Code = 8
	Draining           Code = 9
	Internal           Code = 10
	Cancelled          Code = 11 // client to server, by STOP_SENDING
	EarlyRefused       Code = 12
)

func (c Code) String() string {
	switch c {
	case BadFrame:
		return "BAD_FRAME"
	case TicketExpired:
		return "TICKET_EXPIRED"
	case TicketInvalid:
		return "TICKET_INVALID"
	case NotFound:
		return "NOT_FOUND"
	case NotEntitled:
		return "NOT_ENTITLED"
	case PlayingElsewhere:
		return "PLAYING_ELSEWHERE"
	case RateLimited:
		return "RATE_LIMITED"
	case QualityUnavailable:
		return "QUALITY_UNAVAILABLE"
	case Draining:
		return "DRAINING"
	case Internal:
		return "INTERNAL"
	case Cancelled:
		return "CANCELLED"
	case EarlyRefused:
		return "EARLY_REFUSED"
	default:
		return fmt.Sprintf("code %d", uint64(c))
	}
}

// HTTPStatus is the status of the fallback's answer.
func (c Code) HTTPStatus() int {
	switch c {
	case BadFrame:
		return http.StatusBadRequest
	case TicketExpired, TicketInvalid:
		return http.StatusUnauthorized
	case NotFound:
		return http.StatusNotFound
	case NotEntitled:
		return http.StatusForbidden
	case PlayingElsewhere:
		return http.StatusConflict
	case RateLimited:
		return http.StatusTooManyRequests
	case QualityUnavailable:
		return http.StatusNotAcceptable
	case Draining:
		return http.StatusServiceUnavailable
	case EarlyRefused:
		return http.StatusTooEarly
	default:
		return http.StatusInternalServerError
	}
}

// Error is a refusal: the content of an ERR frame, and the Go error for it on both
// sides. Two errors match (errors.Is) when their codes are equal.
type Error struct {
	Code Code
	// RetryAfter is how long to wait before asking again; 0 says nothing.
	RetryAfter time.Duration
	// Text is for logs. It crosses the wire, at most 256 bytes of it.
	Text string
}

// Errorf makes an Error without a time to wait.
func Errorf(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Text: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string {
	if e.Text == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Text
}

// Is reports whether target is an Error of the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// CodeOf returns the code of the first Error in err's chain: 0 for nil, and
// Internal when there is none.
func CodeOf(err error) Code {
	if err == nil {
		return 0
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}
