package act_test

import (
	"net/http"
	"regexp"
	"testing"

	"github.com/segue-music/segue/cmd/seguectl/internal/act"
	"github.com/segue-music/segue/stream/id"
)

func TestPut(t *testing.T) {
	ctx := act.Begin(t.Context())
	header := func(keep bool) string {
		c := ctx
		if keep {
			c = act.Keep(ctx)
		}
		req, err := http.NewRequestWithContext(c, http.MethodGet, "http://x/", nil)
		if err != nil {
			t.Fatal(err)
		}
		act.Put(req)
		return req.Header.Get("Traceparent")
	}
	want := "^00-" + act.Hex(act.ID(ctx)) + "-[0-9a-f]{16}-"
	if got := header(false); !regexp.MustCompile(want + "00$").MatchString(got) {
		t.Errorf("header %q", got)
	}
	if got := header(true); !regexp.MustCompile(want + "01$").MatchString(got) {
		t.Errorf("header %q", got)
	}
	if next := act.Begin(ctx); act.ID(next) == act.ID(ctx) || act.ID(next).IsZero() {
		t.Error("another act has the same trace")
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/", nil)
	if act.Put(req); len(req.Header) != 0 {
		t.Errorf("without an act: %v", req.Header)
	}
}

func TestParse(t *testing.T) {
	play := act.ID(act.Begin(t.Context()))
	for _, s := range []string{play.String(), act.Hex(play)} {
		if got, err := act.Parse(s); err != nil || got != act.Hex(play) {
			t.Errorf("%s is %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "x", act.Hex(play)[1:], play.String() + "0", id.ID{}.String()[1:]} {
		if got, err := act.Parse(s); err == nil {
			t.Errorf("%q is taken as %s", s, got)
		}
	}
}
