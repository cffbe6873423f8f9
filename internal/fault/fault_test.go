package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/fault"
)

var (
	errNotFound = fault.New(fault.NotFound, "track not found")
	errOther    = fault.New(fault.NotFound, "track not found")
)

func TestError(t *testing.T) {
	err := fmt.Errorf("get: %w", errNotFound.With("7n").RetryIn(time.Second).Because(io.ErrUnexpectedEOF))
	if !errors.Is(err, errNotFound) || errors.Is(err, errOther) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the chain is lost, or two sentinels are one")
	}
	if got := fault.Public(err); got != "track not found: 7n" {
		t.Errorf("public text %q", got)
	}
	if fault.KindOf(err) != fault.NotFound || fault.HTTPStatus(err) != 404 || fault.RetryAfter(err) != time.Second {
		t.Errorf("kind %s, status %d, retry %s", fault.KindOf(err), fault.HTTPStatus(err), fault.RetryAfter(err))
	}
}

func TestPublic_HidesWhatHasNoKind(t *testing.T) {
	err := fmt.Errorf("connect to postgres://user:secret@db: %w", io.EOF)
	if got := fault.Public(err); got != "internal error" || fault.KindOf(err) != 0 || fault.HTTPStatus(err) != 500 {
		t.Errorf("public text %q of kind %s", got, fault.KindOf(err))
	}
}
