package ticket_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/ticket"
	"github.com/segue-music/segue/stream/id"
)

func key(n byte) keyring.Key { return keyring.Key{ID: uint32(n), Secret: [32]byte{n, 1, 2, 3}} }

func at() time.Time { return time.UnixMilli(1_750_000_000_123).UTC() }

func sample() ticket.Ticket {
	return ticket.Ticket{
		SessionID: id.Derive("s"), UserID: id.Derive("u"), DeviceID: id.Derive("d"), Market: "DE", Plan: "premium",
		MaxKbps: 320, DeviceKeyHash: [32]byte{1, 2, 3}, ActiveEpoch: 7, SessionKeyID: 2, ExplicitAllowed: true,
		Expires: at().Add(10 * time.Minute),
	}
}

func TestTicket_RoundTrip(t *testing.T) {
	full := sample()
	full.Market, full.Plan = strings.Repeat("M", ticket.MaxMarket), strings.Repeat("p", ticket.MaxPlan)
	for name, want := range map[string]ticket.Ticket{
		"sample": sample(), "longest": full, "bare": {Expires: at().Add(time.Millisecond)},
	} {
		t.Run(name, func(t *testing.T) {
			b := ticket.Mint([]keyring.Key{key(3), key(2)}, want)
			if len(b) == 0 || len(b) > ticket.MaxSize {
				t.Fatalf("%d bytes", len(b))
			}
			got, err := ticket.Verify([]keyring.Key{key(4), key(3), key(2)}, b, at())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTicket_Refused(t *testing.T) {
	keys := []keyring.Key{key(3)}
	good := ticket.Mint(keys, sample())
	long := sample()
	long.Plan = strings.Repeat("p", ticket.MaxPlan+1)
	impostor := key(3)
	impostor.Secret[31] = 9
	for name, c := range map[string]struct {
		b    []byte
		keys []keyring.Key
		now  time.Time
		want error
	}{
		"empty":               {nil, keys, at(), ticket.ErrInvalid},
		"no_keys":             {good, nil, at(), ticket.ErrInvalid},
		"key_rotated_away":    {good, []keyring.Key{key(9), key(8)}, at(), ticket.ErrInvalid},
		"same_id_other_key":   {good, []keyring.Key{impostor}, at(), ticket.ErrInvalid},
		"cut":                 {good[:len(good)-1], keys, at(), ticket.ErrInvalid},
		"longer":              {append(bytes.Clone(good), 0), keys, at(), ticket.ErrInvalid},
		"over_the_bound":      {make([]byte, ticket.MaxSize+1), keys, at(), ticket.ErrInvalid},
		"plan_too_long":       {ticket.Mint(keys, long), keys, at(), ticket.ErrInvalid},
		"at_its_end":          {good, keys, sample().Expires, ticket.ErrExpired},
		"clock_jumped_ahead":  {good, keys, at().Add(240 * time.Hour), ticket.ErrExpired},
		"forged_and_expired":  {append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1), keys, at().Add(time.Hour), ticket.ErrInvalid},
		"clock_jumped_behind": {good, keys, at().Add(-240 * time.Hour), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ticket.Verify(c.keys, c.b, c.now); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// Every single flipped bit is found.
func TestTicket_Flip(t *testing.T) {
	keys := []keyring.Key{key(3)}
	good := ticket.Mint(keys, sample())
	for i := range len(good) * 8 {
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		if _, err := ticket.Verify(keys, b, at()); !errors.Is(err, ticket.ErrInvalid) {
			t.Fatalf("bit %d of byte %d: %v", i%8, i/8, err)
		}
	}
}

// FuzzTicket_Verify: whatever verifies is exactly what a key of the ring signs.
func FuzzTicket_Verify(f *testing.F) {
	keys := []keyring.Key{key(3), key(2)}
	f.Add(ticket.Mint(keys, sample()))
	f.Add(ticket.Mint(keys[1:], ticket.Ticket{Expires: at().Add(time.Second)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ticket.Verify(keys, b, at())
		if err != nil {
			if !errors.Is(err, ticket.ErrInvalid) && !errors.Is(err, ticket.ErrExpired) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if !bytes.Equal(b, ticket.Mint(keys, got)) && !bytes.Equal(b, ticket.Mint(keys[1:], got)) {
			t.Fatalf("accepted what was not minted: %x", b)
		}
	})
}

func BenchmarkTicket_Verify(b *testing.B) {
	keys := []keyring.Key{key(3), key(2)}
	t := ticket.Mint(keys, sample())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ticket.Verify(keys, t, at()); err != nil {
			b.Fatal(err)
		}
	}
}
