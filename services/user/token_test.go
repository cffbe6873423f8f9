package user

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/stream/id"
)

func family(tb testing.TB) Family {
	tb.Helper()
	return Family{ID: id.Derive("family").String(), Seed: [16]byte{1}, Generation: 3}
}

// TestMakeRefresh: every part of the input changes the token, and nothing else does.
func TestMakeRefresh(t *testing.T) {
	key, f := keyring.Key{ID: 1, Secret: [32]byte{1}}, family(t)
	base := makeRefresh(key, f, 3)
	if makeRefresh(key, f, 3) != base {
		t.Error("the successor is not the same twice")
	}
	otherFamily, otherSeed, otherKey := f, f, key
	otherFamily.ID, otherSeed.Seed, otherKey.Secret = id.Derive("other").String(), [16]byte{2}, [32]byte{2}
	for name, got := range map[string]refreshToken{
		"family": makeRefresh(key, otherFamily, 3), "seed": makeRefresh(key, otherSeed, 3), "key": makeRefresh(otherKey, f, 3),
		"generation": makeRefresh(key, f, 4),
	} {
		if got.secret == base.secret {
			t.Errorf("another %s makes the same secret", name)
		}
	}
	if got, ok := parseRefresh(base.String()); !ok || got != base {
		t.Errorf("%q reads as %+v", base, got)
	}
	if h := base.hash(); h == base.secret {
		t.Error("the hash is the secret")
	}
}

func FuzzParseRefresh(f *testing.F) {
	f.Add(makeRefresh(keyring.Key{}, family(f), 3).String())
	f.Add("sgr.0000000000000000000000.4294967295." + strings.Repeat("A", 43))
	f.Add("sgr...")
	f.Fuzz(func(t *testing.T, s string) {
		if got, ok := parseRefresh(s); ok && got.String() != s {
			t.Errorf("%q is read as %q: one token, two spellings", s, got)
		}
	})
}

func loginService(tb testing.TB) *Service {
	tb.Helper()
	ring, err := keyring.Open(tb.TempDir(), time.Now)
	if err != nil {
		tb.Fatal(err)
	}
	return &Service{keys: ring, now: time.Now, random: rand.Reader}
}

func FuzzOpenLogin(f *testing.F) {
	s := loginService(f)
	want := loginRequest{
		ClientID: "web", RedirectURI: "https://a.example/callback", State: "s", Nonce: "n", Scopes: []string{"openid"}, Challenge: "c",
		LoginHint: "h", Expires: time.Now().Add(time.Hour).Unix(), Browser: make([]byte, 22),
	}
	good, err := s.sealLogin(want)
	if err != nil {
		f.Fatal(err)
	}
	if got, err := s.openLogin(good); err != nil || cmp.Diff(want, got) != "" {
		f.Fatalf("open what was sealed: %+v, %v", got, err)
	}
	if again, _ := s.sealLogin(want); again == good {
		f.Fatal("two requests have one id: no nonce")
	}
	f.Add(good)
	f.Add(good[:20])
	f.Add("AAAAAQ")
	f.Fuzz(func(t *testing.T, id string) {
		_, err := s.openLogin(id)
		if (err == nil) != (id == good) || (err != nil && !errors.Is(err, errLogin)) {
			t.Errorf("%q: %v", id, err)
		}
	})
}

// TestOpenLogin_Rotation: a sign-in page that stands open outlives rotations of its key,
// and not the key.
func TestOpenLogin_Rotation(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	ring, err := keyring.Open(t.TempDir(), clock)
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{keys: ring, now: clock, random: rand.Reader}
	r := loginRequest{Expires: now.Add(400 * 24 * time.Hour).Unix(), Browser: make([]byte, 22)}
	sealed, err := s.sealLogin(r)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if _, err := s.openLogin(sealed); err != nil {
			t.Fatalf("after %d rotations: %v", i, err)
		}
		if _, err := s.keys.Rotate(keyring.Refresh); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Minute)
	}
	now = now.Add(keyring.Refresh.Life() + time.Hour)
	if _, err := s.keys.Rotate(keyring.Refresh); err != nil {
		t.Fatal(err)
	}
	if _, err := s.openLogin(sealed); !errors.Is(err, errLogin) {
		t.Errorf("after its key is gone: %v", err)
	}
}

// TestLimits: each kind is counted apart, and what is given back can be taken again.
func TestLimits(t *testing.T) {
	now := time.Unix(1_760_000_000, 0)
	l := newLimits(Config{PerIP: 2, PerAccount: 3}, func() time.Time { return now }, nil)
	takes := func(what limited, who string) (n int) {
		for {
			if _, ok := l.take(t.Context(), what, who); !ok {
				return n
			}
			n++
		}
	}
	if a, n, r := takes(byAddress, "x"), takes(byName, "x"), takes(byRefusal, "x"); a != 2 || n != 3 || r != 10 {
		t.Errorf("%d, %d and %d taken, want 2, 3 and 10", a, n, r)
	}
	l.giveBack(t.Context(), byName, "x")
	if a, n := takes(byAddress, "x"), takes(byName, "x"); a != 0 || n != 1 {
		t.Errorf("%d and %d taken after one was given back to the second", a, n)
	}
	if wait, _ := l.take(t.Context(), byName, "x"); wait != 200*time.Second {
		t.Errorf("wait %s, want 200s", wait)
	}
}

func TestAddressKey(t *testing.T) {
	for in, want := range map[string]string{
		"203.0.113.7": "203.0.113.7", "::ffff:203.0.113.7": "203.0.113.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
		"fe80::1%eth0": "fe80::", "": "", "evil": "",
	} {
		if got := addressKey(in); got != want {
			t.Errorf("addressKey(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestConfig_Check(t *testing.T) {
	good := Config{Market: "US", Plan: "free", PerIP: 1, PerAccount: 1, RefreshLife: time.Hour, RotateKeys: 48 * time.Hour, PublishAhead: time.Minute}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"market":  func(c *Config) { c.Market = "usa" },
		"plan":    func(c *Config) { c.Plan = "gold" },
		"limit":   func(c *Config) { c.PerIP = 0 },
		"queue":   func(c *Config) { c.HashQueue = -1 },
		"refresh": func(c *Config) { c.RefreshLife = 91 * 24 * time.Hour },
		"rotate":  func(c *Config) { c.RotateKeys = time.Hour },
		"ahead":   func(c *Config) { c.PublishAhead = time.Second },
	} {
		c := good
		change(&c)
		if c.Check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
