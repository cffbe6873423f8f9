package app

import (
	"net/url"
	"slices"
	"testing"
)

func TestListenOrigins(t *testing.T) {
	for in, want := range map[string][]string{
		"http://127.0.0.1:8420":  {"http://127.0.0.1:8420", "http://localhost:8420"},
		"https://10.0.0.5:443":   {"https://10.0.0.5"},
		"http://10.0.0.5:80":     {"http://10.0.0.5"},
		"https://10.0.0.5:80":    {"https://10.0.0.5:80"},
		"https://[fd00::1]:443":  {"https://[fd00::1]"},
		"https://[fd00::1]:8443": {"https://[fd00::1]:8443"},
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := listenOrigins(*u); !slices.Equal(got, want) && !slices.Equal(got[:min(2, len(got))], want) {
			t.Errorf("%s has %q, want %q", in, got, want)
		}
	}
	u := url.URL{Scheme: "https", Host: "[::]:8443"}
	if all := listenOrigins(u); slices.Contains(all, "https://[::]:8443") || !slices.Contains(all, "https://localhost:8443") {
		t.Errorf("a listener on every address has %q", all)
	}
}
