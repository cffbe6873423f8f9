package user

import (
	"time"

	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
)

// ToProto is an account as callers see it.
func ToProto(a Account) *userv1.Account {
	return &userv1.Account{
		Id: a.ID, Username: a.Username, DisplayName: a.DisplayName, Email: a.Email, Roles: a.Roles, Market: a.Market, Plan: a.Plan,
		Disabled: a.Disabled, ExplicitAllowed: a.ExplicitAllowed, Revision: a.Revision, CreatedUnixMs: a.Created.UnixMilli(),
	}
}

// FromProto is the reverse of ToProto.
func FromProto(a *userv1.Account) Account {
	return Account{
		ID: a.GetId(), Username: a.GetUsername(), DisplayName: a.GetDisplayName(), Email: a.GetEmail(), Roles: a.GetRoles(),
		Market: a.GetMarket(), Plan: a.GetPlan(), Disabled: a.GetDisabled(), ExplicitAllowed: a.GetExplicitAllowed(),
		Revision: a.GetRevision(), Created: time.UnixMilli(a.GetCreatedUnixMs()).UTC(),
	}
}
