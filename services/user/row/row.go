// Package row is what the engines of the user service's store have in common: the columns
// of its tables, in order, and how they become what the service works with.
package row

import (
	"cmp"
	"fmt"
	"strings"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/unixtime"
	"github.com/segue-music/segue/services/user"
)

// Scanner is a row of any driver.
type Scanner interface{ Scan(dest ...any) error }

// The columns of accounts without the password hash, of codes and of families.
const (
	Account = `id, username, display_name, email, roles, market, plan, disabled, explicit_allowed, revision, created`
	Code    = `hash, client_id, redirect_uri, scopes, nonce, challenge, user_id, family_id, signed_in, expires, redeemed`
	Family  = `id, user_id, client_id, user_agent, scopes, nonce, signed_in, created, used, expires, seed, generation, key_id,
	current, previous, rotated, revoked, reason, revision`
)

// OfAccount are the values of Account.
func OfAccount(a user.Account) []any {
	return []any{
		a.ID, a.Username, a.DisplayName, a.Email, Bits(a.Roles), a.Market, a.Plan, a.Disabled, a.ExplicitAllowed, a.Revision,
		unixtime.Milli(a.Created),
	}
}

// ScanAccount reads Account and, behind it, more.
func ScanAccount(r Scanner, more ...any) (user.Account, error) {
	var a user.Account
	var roles, created int64
	err := r.Scan(append([]any{
		&a.ID, &a.Username, &a.DisplayName, &a.Email, &roles, &a.Market, &a.Plan, &a.Disabled,
		&a.ExplicitAllowed, &a.Revision, &created,
	}, more...)...)
	a.Roles, a.Created = rolesOf(roles), unixtime.FromMilli(created)
	return a, err
}

// OfCode are the values of Code.
func OfCode(c user.Code) []any {
	return []any{
		c.Hash[:], c.ClientID, c.RedirectURI, strings.Join(c.Scopes, " "), c.Nonce, c.Challenge, c.UserID, c.FamilyID,
		unixtime.Milli(c.SignedIn), unixtime.Milli(c.Expires), c.Redeemed,
	}
}

// ScanCode reads Code.
func ScanCode(r Scanner) (user.Code, error) {
	var c user.Code
	var hash []byte
	var scopes string
	var signedIn, expires int64
	err := r.Scan(&hash, &c.ClientID, &c.RedirectURI, &scopes, &c.Nonce, &c.Challenge, &c.UserID, &c.FamilyID, &signedIn, &expires, &c.Redeemed)
	if err != nil {
		return user.Code{}, err
	}
	if copy(c.Hash[:], hash) != len(c.Hash) {
		return user.Code{}, fmt.Errorf("code of user %s is malformed", c.UserID)
	}
	c.Scopes, c.SignedIn, c.Expires = strings.Fields(scopes), unixtime.FromMilli(signedIn), unixtime.FromMilli(expires)
	return c, nil
}

// OfFamily are the values of Family.
func OfFamily(f user.Family) []any {
	return []any{
		f.ID, f.UserID, f.ClientID, f.UserAgent, strings.Join(f.Scopes, " "), f.Nonce, unixtime.Milli(f.SignedIn), unixtime.Milli(f.Created),
		unixtime.Milli(f.Used), unixtime.Milli(f.Expires), f.Seed[:], f.Generation, f.KeyID, f.Current[:], f.Previous[:],
		unixtime.Milli(f.Rotated), unixtime.Milli(f.Revoked), f.Reason, f.Revision,
	}
}

// ScanFamily reads Family.
func ScanFamily(r Scanner) (user.Family, error) {
	var f user.Family
	var scopes string
	var signedIn, created, used, expires, rotated, revoked int64
	var seed, current, previous []byte
	err := r.Scan(&f.ID, &f.UserID, &f.ClientID, &f.UserAgent, &scopes, &f.Nonce, &signedIn, &created, &used, &expires, &seed,
		&f.Generation, &f.KeyID, &current, &previous, &rotated, &revoked, &f.Reason, &f.Revision)
	if err != nil {
		return user.Family{}, err
	}
	if copy(f.Seed[:], seed) != len(f.Seed) || copy(f.Current[:], current) != len(f.Current) || copy(f.Previous[:], previous) != len(f.Previous) {
		return user.Family{}, fmt.Errorf("session %s is malformed", f.ID)
	}
	f.Scopes = strings.Fields(scopes)
	f.SignedIn, f.Created, f.Used = unixtime.FromMilli(signedIn), unixtime.FromMilli(created), unixtime.FromMilli(used)
	f.Expires, f.Rotated, f.Revoked = unixtime.FromMilli(expires), unixtime.FromMilli(rotated), unixtime.FromMilli(revoked)
	return f, nil
}

// EventKey orders an event in its topic: those of a user. One without a user, a failed
// sign-in of an unknown name, is in no order with others and goes by its own id.
func EventKey(e *eventv1.Envelope) string { return cmp.Or(e.GetUserId(), e.GetId()) }

// AdminBit is that of the role admin in Bits.
const AdminBit = int64(1) << authv1.Role_ROLE_ADMIN

// Bits are roles as a number: bit n is role n.
func Bits(roles []authv1.Role) (b int64) {
	for _, r := range roles {
		b |= 1 << r
	}
	return b
}

func rolesOf(bits int64) (roles []authv1.Role) {
	for r := authv1.Role(1); r < 63; r++ {
		if bits&(1<<r) != 0 {
			roles = append(roles, r)
		}
	}
	return roles
}
