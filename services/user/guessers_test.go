package user

import (
	"fmt"
	"testing"
	"time"
)

func TestGuessers(t *testing.T) {
	now := time.Unix(1_760_000_000, 0)
	g := newGuessers()
	if g.is(now, "a") {
		t.Error("suspected before it guessed")
	}
	g.wrong(now, "a")
	if !g.is(now, "a") || g.is(now, "b") {
		t.Error("not who guessed is suspected")
	}
	if g.is(now.Add(-time.Hour), "a") || g.is(now.Add(guessedLately), "a") {
		t.Error("suspected for longer than a moment")
	}
	for i := range 2 * mostGuessers {
		g.wrong(now, fmt.Sprint(i))
	}
	if n := len(g.last); n > mostGuessers {
		t.Errorf("%d addresses are kept", n)
	}
}
