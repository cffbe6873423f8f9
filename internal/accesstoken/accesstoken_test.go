package accesstoken_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	"github.com/segue-music/segue/internal/accesstoken"
	"github.com/segue-music/segue/internal/fault"
)

const issuer = "https://music.example"

func start() time.Time { return time.Unix(1_760_000_000, 0) }

// fixture is an issuer whose keys and clock the test turns.
type fixture struct {
	now     time.Time
	keys    []accesstoken.Key
	fail    error
	fetches atomic.Int64
	verify  *accesstoken.Verifier
}

func setUp(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{now: start(), keys: []accesstoken.Key{accesstoken.NewKey([32]byte{1})}}
	f.verify = accesstoken.NewVerifier(func(context.Context) ([]byte, error) {
		f.fetches.Add(1)
		if f.fail != nil {
			return nil, f.fail
		}
		return json.Marshal(accesstoken.Public(f.keys))
	}, func() string { return issuer }, func() time.Time { return f.now })
	return f
}

func claims() accesstoken.Claims {
	return accesstoken.Claims{
		ID: "jti", UserID: "user", LoginID: "family", ClientID: "web", Market: "SE", Plan: "premium", ExplicitAllowed: true,
		Roles:    []authv1.Role{authv1.Role_ROLE_LISTENER, authv1.Role_ROLE_ARTIST, authv1.Role_ROLE_LABEL, authv1.Role_ROLE_ADMIN},
		IssuedAt: start(), Expires: start().Add(accesstoken.Life),
	}
}

func sign(t testing.TB, k accesstoken.Key, iss string, c accesstoken.Claims) string {
	t.Helper()
	token, err := accesstoken.Sign(k, iss, c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// raw makes a token of any header and payload under the issuer's key.
func raw(t testing.TB, typ string, payload map[string]any) string {
	t.Helper()
	token, err := accesstoken.SignJSON(accesstoken.NewKey([32]byte{1}), typ, payload)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func segment(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func payload(change map[string]any) map[string]any {
	p := map[string]any{"iss": issuer, "sub": "user", "aud": "segue", "exp": start().Unix() + 600, "nbf": start().Unix(), "iat": start().Unix()}
	for k, v := range change {
		p[k] = v
	}
	return p
}

func TestVerifier_Verify(t *testing.T) {
	good := sign(t, accesstoken.NewKey([32]byte{1}), issuer, claims())
	parts := strings.Split(good, ".")
	jwk := accesstoken.Public([]accesstoken.Key{accesstoken.NewKey([32]byte{1})}).Keys[0]
	public, err := base64.RawURLEncoding.DecodeString(jwk.X)
	if err != nil {
		t.Fatal(err)
	}
	// The old trick: the public key, which everybody has, as the secret of an HMAC.
	confused := segment(`{"alg":"HS256","typ":"at+jwt","kid":"`+jwk.ID+`"}`) + "." + parts[1]
	mac := hmac.New(sha256.New, public)
	_, _ = mac.Write([]byte(confused))
	confused += "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))

	cases := map[string]struct {
		token string
		at    time.Duration
		err   error
	}{
		"good":                {good, 0, nil},
		"last_second":         {good, 10*time.Minute - time.Second, nil},
		"expired":             {good, 10 * time.Minute, accesstoken.ErrExpired},
		"issuer_clock_ahead":  {good, -30 * time.Second, nil},
		"not_yet":             {good, -31 * time.Second, accesstoken.ErrInvalid},
		"empty":               {"", 0, accesstoken.ErrInvalid},
		"two_parts":           {parts[0] + "." + parts[1], 0, accesstoken.ErrInvalid},
		"four_parts":          {good + ".x", 0, accesstoken.ErrInvalid},
		"no_signature":        {parts[0] + "." + parts[1] + ".", 0, accesstoken.ErrInvalid},
		"other_payload":       {parts[0] + "." + segment(`{"sub":"admin"}`) + "." + parts[2], 0, accesstoken.ErrInvalid},
		"alg_none":            {segment(`{"alg":"none","typ":"at+jwt","kid":"`+jwk.ID+`"}`) + "." + parts[1] + ".", 0, accesstoken.ErrInvalid},
		"alg_none_signed":     {segment(`{"alg":"none","typ":"at+jwt","kid":"`+jwk.ID+`"}`) + "." + parts[1] + "." + parts[2], 0, accesstoken.ErrInvalid},
		"alg_confused":        {confused, 0, accesstoken.ErrInvalid},
		"critical_extension":  {segment(`{"alg":"EdDSA","typ":"at+jwt","kid":"`+jwk.ID+`","crit":["b64"]}`) + "." + parts[1] + "." + parts[2], 0, accesstoken.ErrInvalid},
		"id_token":            {raw(t, accesstoken.TypeID, payload(nil)), 0, accesstoken.ErrInvalid},
		"minimal":             {raw(t, accesstoken.TypeAccess, payload(nil)), 0, nil},
		"other_audience":      {raw(t, accesstoken.TypeAccess, payload(map[string]any{"aud": "web"})), 0, accesstoken.ErrInvalid},
		"no_subject":          {raw(t, accesstoken.TypeAccess, payload(map[string]any{"sub": ""})), 0, accesstoken.ErrInvalid},
		"no_expiry":           {raw(t, accesstoken.TypeAccess, payload(map[string]any{"exp": nil})), 0, accesstoken.ErrExpired},
		"expiry_text":         {raw(t, accesstoken.TypeAccess, payload(map[string]any{"exp": "9999999999"})), 0, accesstoken.ErrInvalid},
		"other_issuer":        {sign(t, accesstoken.NewKey([32]byte{1}), "https://evil.example", claims()), 0, accesstoken.ErrInvalid},
		"other_key":           {sign(t, accesstoken.NewKey([32]byte{2}), issuer, claims()), 0, accesstoken.ErrInvalid},
		"padding":             {good + "=", 0, accesstoken.ErrInvalid},
		"too_long":            {strings.Repeat("A", 5000), 0, accesstoken.ErrInvalid},
		"signature_bits_left": {good[:len(good)-1] + next(good[len(good)-1]), 0, accesstoken.ErrInvalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := setUp(t)
			f.now = start().Add(c.at)
			for range 2 { // the second time it may be remembered
				if _, err := f.verify.Verify(t.Context(), c.token); !errors.Is(err, c.err) {
					t.Fatalf("Verify: %v, want %v", err, c.err)
				}
			}
		})
	}
}

// next is another base64 digit that decodes to the same last byte where decoding is lax.
func next(c byte) string { return string(c + 1) }

func TestVerifier_Claims(t *testing.T) {
	f := setUp(t)
	token := sign(t, f.keys[0], issuer, claims())
	for range 2 {
		got, err := f.verify.Verify(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(claims(), got); d != "" {
			t.Errorf("claims (-want +got):\n%s", d)
		}
		got.Roles[0] = authv1.Role_ROLE_ADMIN // ours: the next caller must not see it
	}
}

// TestSign_Jose reads a token and a key set by another implementation.
func TestSign_Jose(t *testing.T) {
	key := accesstoken.NewKey([32]byte{1})
	b, err := json.Marshal(accesstoken.Public([]accesstoken.Key{key}))
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(b, &set); err != nil {
		t.Fatal(err)
	}
	found := set.Key(key.ID)
	if len(found) != 1 || !found[0].Valid() {
		t.Fatalf("keys of id %q: %v", key.ID, found)
	}
	thumb, err := found[0].Thumbprint(5) // crypto.SHA256
	if err != nil || base64.RawURLEncoding.EncodeToString(thumb) != key.ID {
		t.Errorf("thumbprint is %x, %v; the id is %q", thumb, err, key.ID)
	}
	jws, err := jose.ParseSignedCompact(sign(t, key, issuer, claims()), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jws.Verify(found[0].Key); err != nil {
		t.Error(err)
	}
}

func TestVerifier_Rotation(t *testing.T) {
	f, ctx := setUp(t), t.Context()
	verify := func(k accesstoken.Key) error {
		c := claims()
		c.ID, c.IssuedAt, c.Expires = f.now.String(), f.now, f.now.Add(accesstoken.Life)
		_, err := f.verify.Verify(ctx, sign(t, k, issuer, c))
		return err
	}
	one, two := f.keys[0], accesstoken.NewKey([32]byte{2})
	if err := verify(one); err != nil {
		t.Fatal(err)
	}
	for range 50 { // a flood of unknown keys asks once in ten seconds
		if err := verify(two); !errors.Is(err, accesstoken.ErrInvalid) {
			t.Fatalf("unknown key: %v", err)
		}
	}
	if n := f.fetches.Load(); n != 1 {
		t.Errorf("%d fetches within ten seconds, want 1", n)
	}
	f.keys = []accesstoken.Key{two, one}
	f.now = f.now.Add(10 * time.Second)
	if err := errors.Join(verify(two), verify(one)); err != nil {
		t.Errorf("after the new key was published: %v", err)
	}
	f.keys = []accesstoken.Key{two}
	f.now = f.now.Add(15 * time.Minute)
	if err := verify(one); !errors.Is(err, accesstoken.ErrInvalid) {
		t.Errorf("a key that was withdrawn: %v", err)
	}
	f.fail = errors.New("away")
	f.now = f.now.Add(24 * time.Hour)
	if err := verify(two); err != nil {
		t.Errorf("while the issuer is away its keys are used on: %v", err)
	}
}

// TestVerifier_ClockJumps: an hour back must not keep a new key from being read until the
// clock has caught up.
func TestVerifier_ClockJumps(t *testing.T) {
	f := setUp(t)
	if _, err := f.verify.Verify(t.Context(), sign(t, f.keys[0], issuer, claims())); err != nil {
		t.Fatal(err)
	}
	for _, jump := range []time.Duration{-time.Hour, time.Hour, -2 * time.Hour, 5 * time.Hour} {
		f.now = f.now.Add(jump)
		fresh := accesstoken.NewKey([32]byte{byte(len(f.keys) + 7)})
		f.keys = append([]accesstoken.Key{fresh}, f.keys...)
		c := claims()
		c.IssuedAt, c.Expires = f.now, f.now.Add(accesstoken.Life)
		if _, err := f.verify.Verify(t.Context(), sign(t, fresh, issuer, c)); err != nil {
			t.Errorf("a new key after a jump of %s: %v", jump, err)
		}
	}
}

func TestVerifier_NoKeys(t *testing.T) {
	f := setUp(t)
	f.fail = errors.New("secret address refused")
	token := sign(t, f.keys[0], issuer, claims())
	for range 3 {
		_, err := f.verify.Verify(t.Context(), token)
		if !errors.Is(err, accesstoken.ErrKeys) || strings.Contains(fault.Public(err), "secret") {
			t.Errorf("without keys: %v (public %q), want unavailable", err, fault.Public(err))
		}
	}
	if n := f.fetches.Load(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
	f.fail, f.now = nil, f.now.Add(10*time.Second)
	if _, err := f.verify.Verify(t.Context(), token); err != nil {
		t.Errorf("after it came back: %v", err)
	}
}

func TestVerifier_Concurrent(t *testing.T) {
	f := setUp(t)
	token := sign(t, f.keys[0], issuer, claims())
	errs := make([]error, 32)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = f.verify.Verify(t.Context(), token) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil || f.fetches.Load() != 1 {
		t.Errorf("%d fetches for 32 callers at once: %v", f.fetches.Load(), err)
	}
}

func TestVerifier_BadKeySet(t *testing.T) {
	for name, set := range map[string]string{
		"not_json":  "<html>",
		"short_key": `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AAAA"}]}`,
		"too_many":  `{"keys":[` + strings.TrimSuffix(strings.Repeat(`{"kty":"RSA"},`, 40), ",") + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			v := accesstoken.NewVerifier(func(context.Context) ([]byte, error) { return []byte(set), nil },
				func() string { return issuer }, start)
			if _, err := v.Verify(t.Context(), sign(t, accesstoken.NewKey([32]byte{1}), issuer, claims())); !errors.Is(err, accesstoken.ErrKeys) {
				t.Errorf("Verify: %v, want unavailable", err)
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	fix := setUp(f)
	good := sign(f, fix.keys[0], issuer, claims())
	f.Add(good)
	f.Add(strings.ToUpper(good))
	f.Add("a.b.c")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		c, err := fix.verify.Verify(t.Context(), token)
		if err == nil && token != good {
			t.Errorf("%q verifies: %+v", token, c)
		}
		if err != nil && fault.KindOf(err) == 0 {
			t.Errorf("%q: an error without a kind: %v", token, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	f := setUp(b)
	for name, fresh := range map[string]bool{"known": false, "first": true} {
		b.Run(name, func(b *testing.B) {
			tokens := make([]string, 1)
			if fresh {
				tokens = make([]string, b.N)
			}
			for i := range tokens {
				c := claims()
				c.ID = fmt.Sprint(i)
				tokens[i] = sign(b, f.keys[0], issuer, c)
			}
			b.ResetTimer()
			for i := range b.N {
				if _, err := f.verify.Verify(b.Context(), tokens[i%len(tokens)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
