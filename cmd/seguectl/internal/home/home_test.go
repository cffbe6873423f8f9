package home

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/stream/id"
)

func open(t *testing.T) (*Dir, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a", "segue")
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return d, path
}

func TestCredentials_RoundTrip(t *testing.T) {
	d, path := open(t)
	if _, err := d.Credentials(); !errors.Is(err, ErrSignedOut) {
		t.Errorf("before: %v", err)
	}
	want := Credentials{
		Server: "https://a.example", User: "ada", CA: "pem", RefreshToken: "r-secret", AccessToken: "a-secret", Expires: time.Unix(5, 0).UTC(),
	}
	for range 2 {
		if err := d.SaveCredentials(want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := d.Credentials()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(filepath.Join(path, credentialsFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, %v", info.Mode(), err)
	}
	if s := fmt.Sprintf("%v %+v %#v %s", want, want, want, want); strings.Contains(s, "secret") {
		t.Errorf("tokens are printed: %s", s)
	}
	entries, err := os.ReadDir(path)
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files are left, %v", len(entries), err)
	}
	if err := errors.Join(d.ForgetCredentials(), d.ForgetCredentials()); err != nil {
		t.Error(err)
	}
	if _, err := d.Credentials(); !errors.Is(err, ErrSignedOut) {
		t.Errorf("after: %v", err)
	}
}

func TestCredentials_Damaged(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "half": `{"server":"htt`, "no token": `{"server":"https://a"}`} {
		t.Run(name, func(t *testing.T) {
			d, path := open(t)
			if err := os.WriteFile(filepath.Join(path, credentialsFile), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Credentials(); !errors.Is(err, ErrSignedOut) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestDeviceID_Stays(t *testing.T) {
	d, path := open(t)
	first, err := d.DeviceID()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := id.Parse(first); err != nil {
		t.Error(err)
	}
	if again, err := d.DeviceID(); again != first || err != nil {
		t.Errorf("%q, then %q, %v", first, again, err)
	}
	if err := os.WriteFile(filepath.Join(path, deviceFile), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if fresh, err := d.DeviceID(); fresh == first || err != nil {
		t.Errorf("%q after damage, %v", fresh, err)
	}
}

func TestLock_Excludes(t *testing.T) {
	d, _ := open(t)
	unlock, err := d.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*lockEvery)
	defer cancel()
	if _, err := d.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second lock: %v", err)
	}
	unlock()
	again, err := d.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again()
}
