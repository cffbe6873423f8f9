// Package password hashes passwords with argon2id (RFC 9106) and stores them as PHC
// strings. Hashing is dear on purpose, so it runs in as many slots as there are
// processors, with a short queue before them; past that it refuses at once. Who is
// suspected to guess waits behind everybody else.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/segue-music/segue/internal/fault"
)

const (
	saltBytes = 16
	hashBytes = 32
	// maxPHC bounds a stored string; ours has 97 bytes.
	maxPHC = 512
	// maxMemory in KiB and maxTime bound what a stored string may cost.
	maxMemory = 1 << 20
	maxTime   = 16
)

var (
	// ErrBusy refuses work while slots and queue are full.
	ErrBusy = fault.New(fault.Exhausted, "too many sign-ins at once, try again shortly")
	// ErrMalformed says that a stored string is no argon2id hash.
	ErrMalformed = errors.New("password hash is malformed")
)

// Params are the cost of a hash.
type Params struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// Recommended is what OWASP's password storage cheat sheet asks at least: 19 MiB, two
// passes, one thread.
func Recommended() Params { return Params{Memory: 19 << 10, Time: 2, Threads: 1} }

// Hasher hashes within its slots. All methods may be called concurrently.
type Hasher struct {
	params Params
	gate   *gate
	turn   turn
	*counts
}

// counts are of one hasher and its lasts.
type counts struct {
	runs, refused atomic.Uint64
	// slow is the length of the last run in nanoseconds, from which the wait is told.
	slow atomic.Int64
	// waited, where there is one, is told how long each caller waited for its slot.
	waited atomic.Pointer[func(time.Duration)]
}

// New makes a hasher with one slot per processor and room for queue callers to wait.
func New(p Params, queue int) *Hasher {
	return &Hasher{params: p, gate: newGate(runtime.GOMAXPROCS(0), queue), counts: &counts{}}
}

// Last is the same hasher for callers whose turn is last: they have half of the queue,
// and a slot only when nobody else waits for it.
func (h *Hasher) Last() *Hasher {
	l := *h
	l.turn = last
	return &l
}

// Runs counts the hashes computed, right, wrong or in vain.
func (h *Hasher) Runs() uint64 { return h.runs.Load() }

// Refused counts the callers that found slots and queue full.
func (h *Hasher) Refused() uint64 { return h.refused.Load() }

// Load is how many hashes are being computed, in how many slots, and how many callers
// wait, in a queue of which length.
func (h *Hasher) Load() (busy, slots, waiting, queue int) {
	return h.gate.load()
}

// OnWait sets what is told how long each caller waited for its slot.
func (h *Hasher) OnWait(fn func(time.Duration)) { h.waited.Store(&fn) }

// Hash makes the PHC string of a password under a fresh salt.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	sum, err := h.run(ctx, h.params, password, salt, hashBytes)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.params.Memory, h.params.Time,
		h.params.Threads, enc.EncodeToString(salt), enc.EncodeToString(sum)), nil
}

// Verify tells whether password is the one of stored, and whether stored was made with
// other parameters than ours, so that it should be made anew. An empty stored costs the
// same and is never right: who asks cannot tell whether there is an account.
func (h *Hasher) Verify(ctx context.Context, stored, password string) (ok, outdated bool, err error) {
	if stored == "" {
		_, err := h.run(ctx, h.params, password, make([]byte, saltBytes), hashBytes)
		if err != nil {
			return false, false, fmt.Errorf("verify password: %w", err)
		}
		return false, false, nil
	}
	p, salt, sum, err := parse(stored)
	if err != nil {
		return false, false, fmt.Errorf("verify password: %w", err)
	}
	got, err := h.run(ctx, p, password, salt, uint32(len(sum)))
	if err != nil {
		return false, false, fmt.Errorf("verify password: %w", err)
	}
	return subtle.ConstantTimeCompare(got, sum) == 1, p != h.params, nil
}

func (h *Hasher) run(ctx context.Context, p Params, password string, salt []byte, size uint32) ([]byte, error) {
	asked := time.Now()
	if err := h.gate.enter(ctx, h.turn); err != nil {
		if errors.Is(err, ErrBusy) {
			h.refused.Add(1)
			wait := time.Duration(h.slow.Load() * int64(h.gate.room[first]) / int64(h.gate.slots))
			return nil, ErrBusy.RetryIn(max(time.Second, wait))
		}
		return nil, err
	}
	defer h.gate.leave()
	start := time.Now()
	if tell := h.waited.Load(); tell != nil {
		(*tell)(start.Sub(asked))
	}
	sum := argon2.IDKey([]byte(password), salt, p.Time, p.Memory, p.Threads, size)
	h.slow.Store(int64(time.Since(start)))
	h.runs.Add(1)
	return sum, nil
}

// parse reads a PHC string: $argon2id$v=19$m=…,t=…,p=…$salt$hash.
func parse(phc string) (Params, []byte, []byte, error) {
	parts := strings.Split(phc, "$")
	if len(phc) > maxPHC || len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return Params{}, nil, nil, ErrMalformed
	}
	memory, rest, _ := strings.Cut(parts[3], ",")
	passes, threads, _ := strings.Cut(rest, ",")
	m, err1 := number(memory, "m=", maxMemory)
	t, err2 := number(passes, "t=", maxTime)
	p, err3 := number(threads, "p=", 255)
	enc := base64.RawStdEncoding.Strict()
	salt, err4 := enc.DecodeString(parts[4])
	sum, err5 := enc.DecodeString(parts[5])
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return Params{}, nil, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(salt) < 8 || len(sum) < 16 || len(sum) > 64 {
		return Params{}, nil, nil, ErrMalformed
	}
	return Params{Memory: uint32(m), Time: uint32(t), Threads: uint8(p)}, salt, sum, nil
}

func number(s, prefix string, most uint64) (uint64, error) {
	digits, ok := strings.CutPrefix(s, prefix)
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil || n == 0 || n > most || digits[0] == '+' || digits[0] == '0' {
		return 0, fmt.Errorf("no number in %q", s)
	}
	return n, nil
}
