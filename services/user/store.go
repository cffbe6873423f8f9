package user

import (
	"context"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
)

// NewAccount is an account to be made, with all that commits with it.
type NewAccount struct {
	Account      Account
	PasswordHash string
	Key          ListenerKey
	Events       []*eventv1.Envelope
	// Once makes it once per caller and key; nil makes it every time.
	Once *Once
}

// Once is a caller's idempotency key. Request is what must not differ in a repeat and
// holds no password: a digest of it is kept.
type Once struct {
	Caller, Key string
	Request     []byte
}

// Change is a changed account. Account holds the whole new state, its revision one more
// than the stored one.
type Change struct {
	Account Account
	// PasswordHash replaces the stored one; empty keeps it.
	PasswordHash string
	Events       []*eventv1.Envelope
	// EndSessions revokes the account's families in the same transaction; nil keeps them.
	EndSessions *EndSessions
}

// EndSessions says which families end and how that is told.
type EndSessions struct {
	Keep   string // the family that stays; empty for none
	Reason string
	// Event makes the event of a family that was revoked, given in its new state. It is
	// called within the transaction: it computes and does nothing else.
	Event func(Family) (*eventv1.Envelope, error)
}

// Store keeps accounts, sign-ins and listener keys. All methods may be called
// concurrently. A change and its events are durable together when a method returns nil,
// and neither happened when it returns an error, but for one of kind fault.Unavailable: an
// engine that is lost in a commit may not know. Events go to the topic of identity
// events, keyed by their user; those of one subject are published in the order of its
// revisions.
type Store interface {
	// CreateAccount makes an account with its listener key. ErrExists: the username is
	// taken. With n.Once a repeat changes nothing and returns the account as it was first
	// made, and a repeat with another request is ErrIdempotency.
	CreateAccount(ctx context.Context, n NewAccount) (Account, error)
	// Account is the account of an id, or ErrNotFound.
	Account(ctx context.Context, id string) (Account, error)
	// AccountByName is the account of a username and its password hash, or ErrNotFound.
	AccountByName(ctx context.Context, username string) (Account, string, error)
	// PasswordHash is the stored hash of an account, or ErrNotFound.
	PasswordHash(ctx context.Context, id string) (string, error)
	// Accounts are up to limit accounts with ids after the given one, in the order of ids.
	Accounts(ctx context.Context, after string, limit int) ([]Account, error)
	// HasAdmin reports whether any enabled account has the role admin.
	HasAdmin(ctx context.Context) (bool, error)
	// UpdateAccount stores a change. ErrNotFound; ErrConflict where the stored revision is
	// not the one before c.Account's; ErrLastAdmin where no enabled admin would be left.
	// Username and creation time stay as they are.
	UpdateAccount(ctx context.Context, c Change) error
	// ReplaceHash replaces the password hash old by a new one of the same password; where
	// old is not the stored one, nothing happens and that is no error.
	ReplaceHash(ctx context.Context, id, old, hash string) error
	// DeleteAccount removes an account of a revision with its listener key, families and
	// codes, for good, and tells the ids of the families, in any order. ErrNotFound,
	// ErrConflict, ErrLastAdmin.
	DeleteAccount(ctx context.Context, id string, revision uint64, events []*eventv1.Envelope) (families []string, err error)

	// Key is a listener's key. ErrShredded: the account was deleted; ErrNotFound: there
	// never was one.
	Key(ctx context.Context, userID string) (ListenerKey, error)

	// AddCode keeps a code. ErrNotFound: its account is gone.
	AddCode(ctx context.Context, c Code, events []*eventv1.Envelope) error
	// Code is the code of a hash, redeemed or not, or ErrNoCode.
	Code(ctx context.Context, hash [32]byte) (Code, error)
	// Redeem marks a code as redeemed and begins its family, f.Revision being 1. Of all
	// calls with one code exactly one succeeds, the others are ErrCodeRedeemed. ErrNoCode.
	Redeem(ctx context.Context, hash [32]byte, f Family) error

	// Family is the family of an id, live or not, or ErrNoSession.
	Family(ctx context.Context, id string) (Family, error)
	// Families are the live families of an account, newest first.
	Families(ctx context.Context, userID string, now time.Time) ([]Family, error)
	// UpdateFamily stores a changed family. ErrNoSession; ErrSession where the stored
	// revision is not the one before f's. Account, client, seed and times of beginning and
	// end stay as they are.
	UpdateFamily(ctx context.Context, f Family, events []*eventv1.Envelope) error

	// Record commits events that change nothing here.
	Record(ctx context.Context, events []*eventv1.Envelope) error
	// Purge drops codes that expired before the time codes, and families that expired or
	// were revoked before the time families. Both times have passed.
	Purge(ctx context.Context, codes, families time.Time) error
}
