package accesstoken

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
)

const (
	// keysFresh is how long a set is used unasked; a key that was withdrawn is gone after it.
	keysFresh = 15 * time.Minute
	// fetchEvery bounds how often a token with an unknown key makes us ask again.
	fetchEvery   = 10 * time.Second
	fetchTimeout = 5 * time.Second
	// skew is how far ahead the issuer's clock may be.
	skew = 30 * time.Second
	// seenMost bounds each of the two generations of tokens known to be genuine.
	seenMost = 8192
)

// Verifier checks access tokens. All methods may be called concurrently. A token's
// signature (60 µs) is checked once; while it lives, its digest is remembered.
type Verifier struct {
	fetch  func(ctx context.Context) ([]byte, error)
	issuer func() string
	now    func() time.Time

	mu      sync.Mutex
	keys    map[string]ed25519.PublicKey
	fetched time.Time // when keys were read
	tried   time.Time // when a read was last begun
	reading chan struct{}
	readErr error
	seen    [2]map[[32]byte]known // this generation, and the one before it
}

// known is a token that was found genuine under a key.
type known struct {
	kid    string
	claims Claims
	issuer string
	from   time.Time
}

// NewVerifier makes a verifier of tokens of issuer; fetch reads its JWK set. issuer is
// asked for each token, since it may be known only once a listener is bound.
func NewVerifier(fetch func(ctx context.Context) (jwks []byte, err error), issuer func() string, now func() time.Time) *Verifier {
	return &Verifier{fetch: fetch, issuer: issuer, now: now, seen: [2]map[[32]byte]known{{}, {}}}
}

// Verify checks a token and tells what it says. The error is ErrExpired, ErrInvalid, or
// ErrKeys where the issuer's keys could not be read.
func (v *Verifier) Verify(ctx context.Context, token string) (Claims, error) {
	if len(token) > maxToken {
		return Claims{}, ErrInvalid.Because(errors.New("too long"))
	}
	digest := sha256.Sum256([]byte(token))
	k, ok := v.remembered(digest)
	if !ok {
		var err error
		if k, err = v.open(ctx, token); err != nil {
			return Claims{}, err
		}
	} else if _, err := v.key(ctx, k.kid); err != nil {
		return Claims{}, err // withdrawn meanwhile
	}
	now := v.now()
	switch {
	case k.issuer != v.issuer():
		return Claims{}, ErrInvalid.Because(fmt.Errorf("issuer is %q", k.issuer))
	case !now.Before(k.claims.Expires):
		return Claims{}, ErrExpired
	case now.Add(skew).Before(k.from):
		return Claims{}, ErrInvalid.Because(errors.New("not valid yet"))
	}
	if !ok {
		v.remember(digest, k)
	}
	c := k.claims
	c.Roles = slices.Clone(c.Roles) // the caller's own
	return c, nil
}

// open checks form and signature.
func (v *Verifier) open(ctx context.Context, token string) (known, error) {
	signed, kid, w, sig, err := parse(token)
	if err != nil {
		return known{}, ErrInvalid.Because(err)
	}
	key, err := v.key(ctx, kid)
	if err != nil {
		return known{}, err
	}
	if !ed25519.Verify(key, []byte(signed), sig) {
		return known{}, ErrInvalid.Because(errors.New("signature does not verify"))
	}
	if w.Audience != Audience || w.Subject == "" {
		return known{}, ErrInvalid.Because(fmt.Errorf("audience is %q", w.Audience))
	}
	c := Claims{
		ID: w.ID, UserID: w.Subject, LoginID: w.LoginID, ClientID: w.ClientID, Market: w.Market, Plan: w.Plan,
		ExplicitAllowed: w.Explicit, IssuedAt: time.Unix(w.IssuedAt, 0), Expires: time.Unix(w.Expires, 0),
		Roles: make([]authv1.Role, 0, len(w.Roles)),
	}
	for _, name := range w.Roles {
		if r, ok := role(name); ok {
			c.Roles = append(c.Roles, r)
		}
	}
	return known{kid: kid, claims: c, issuer: w.Issuer, from: time.Unix(w.NotBefore, 0)}, nil
}

// parse takes a token apart; nothing of it is to be believed yet.
func parse(token string) (signed, kid string, w wire, sig []byte, err error) {
	head, rest, _ := strings.Cut(token, ".")
	body, sign, found := strings.Cut(rest, ".")
	if !found || strings.Contains(sign, ".") {
		return "", "", wire{}, nil, errors.New("not three parts")
	}
	enc := base64.RawURLEncoding.Strict()
	h, err := enc.DecodeString(head)
	if err != nil {
		return "", "", wire{}, nil, fmt.Errorf("decode header: %w", err)
	}
	var hd header
	if err := json.Unmarshal(h, &hd); err != nil {
		return "", "", wire{}, nil, fmt.Errorf("decode header: %w", err)
	}
	if hd.Algorithm != algorithm || hd.Type != TypeAccess || hd.KeyID == "" || len(hd.Critical) > 0 {
		return "", "", wire{}, nil, fmt.Errorf("header has alg %q, typ %q", hd.Algorithm, hd.Type)
	}
	p, err := enc.DecodeString(body)
	if err != nil {
		return "", "", wire{}, nil, fmt.Errorf("decode payload: %w", err)
	}
	if err := json.Unmarshal(p, &w); err != nil {
		return "", "", wire{}, nil, fmt.Errorf("decode payload: %w", err)
	}
	if sig, err = enc.DecodeString(sign); err != nil || len(sig) != ed25519.SignatureSize {
		return "", "", wire{}, nil, errors.New("signature is malformed")
	}
	return head + "." + body, hd.KeyID, w, sig, nil
}

func (v *Verifier) remembered(digest [32]byte) (known, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, gen := range v.seen {
		if k, ok := gen[digest]; ok {
			return k, true
		}
	}
	return known{}, false
}

func (v *Verifier) remember(digest [32]byte, k known) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.seen[0]) >= seenMost {
		v.seen[1], v.seen[0] = v.seen[0], make(map[[32]byte]known, seenMost)
	}
	v.seen[0][digest] = k
}

// key finds a public key, reading the set anew where it is old or lacks the key, one
// reader at a time and not more often than fetchEvery. A set that cannot be read anew
// is used on.
func (v *Verifier) key(ctx context.Context, kid string) (ed25519.PublicKey, error) {
	for {
		v.mu.Lock()
		now := v.now()
		key, ok := v.keys[kid]
		old := v.fetched.IsZero() || past(v.fetched, now, keysFresh)
		may := v.tried.IsZero() || past(v.tried, now, fetchEvery)
		reading, readErr, never := v.reading, v.readErr, v.keys == nil
		switch {
		case ok && (!old || !may || reading != nil):
			v.mu.Unlock()
			return key, nil
		case reading != nil:
			v.mu.Unlock()
			select {
			case <-reading:
				continue
			case <-ctx.Done():
				return nil, ErrKeys.Because(ctx.Err())
			}
		case !may && never:
			v.mu.Unlock()
			return nil, ErrKeys.RetryIn(fetchEvery).Because(readErr)
		case !may:
			v.mu.Unlock()
			return nil, ErrInvalid.Because(fmt.Errorf("no key %q", kid))
		}
		v.tried, v.reading = now, make(chan struct{})
		v.mu.Unlock()
		v.read(ctx)
	}
}

// past reports whether d has passed since a time. A time that has not come says that the
// clock was set back: how much has passed is not known, and it counts as enough.
func past(since, now time.Time, d time.Duration) bool {
	age := now.Sub(since)
	return age < 0 || age >= d
}

// read fetches the set. The caller's end must not spoil it for those who wait.
func (v *Verifier) read(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	var keys map[string]ed25519.PublicKey
	err := errors.New("reading the keys panicked") // stands only if fetch does not return
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.readErr = err; err == nil {
			v.keys, v.fetched = keys, v.now()
		}
		close(v.reading)
		v.reading = nil
	}()
	var b []byte
	if b, err = v.fetch(ctx); err == nil {
		keys, err = parseKeys(b)
	}
}
