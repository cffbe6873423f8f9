package user

import "github.com/segue-music/segue/internal/fault"

// What the service and its stores answer.
var (
	ErrNotFound     = fault.New(fault.NotFound, "account not found")
	ErrExists       = fault.New(fault.Exists, "username is taken")
	ErrConflict     = fault.New(fault.Conflict, "account changed meanwhile, read it again")
	ErrLastAdmin    = fault.New(fault.Conflict, "the last admin cannot be removed, demoted or disabled")
	ErrInvalid      = fault.New(fault.Invalid, "account is not valid")
	ErrPassword     = fault.New(fault.Denied, "current password is wrong")
	ErrLimited      = fault.New(fault.Exhausted, "too many attempts, try again later")
	ErrPageToken    = fault.New(fault.Invalid, "page token is not valid")
	ErrNoSession    = fault.New(fault.NotFound, "session not found")
	ErrSession      = fault.New(fault.Conflict, "session changed meanwhile")
	ErrNoCode       = fault.New(fault.NotFound, "authorization code not found")
	ErrCodeRedeemed = fault.New(fault.Conflict, "authorization code was used before")
	ErrShredded     = fault.New(fault.NotFound, "listener's key is gone")
	ErrKeySoon      = fault.New(fault.Conflict, "newest key is not in use yet")
	ErrKeyMany      = fault.New(fault.Exhausted, "too many old keys are still needed")
	ErrIdempotency  = fault.New(fault.Invalid, "idempotency key was used for another request")
)
