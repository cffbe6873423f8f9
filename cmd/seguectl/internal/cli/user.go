package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/segue-music/segue/cmd/seguectl/internal/show"
	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/stream/id"
)

type userCmd struct {
	Create userCreateCmd `cmd:"" help:"Create an account."`
	List   userListCmd   `cmd:"" help:"List the accounts."`
	Update userUpdateCmd `cmd:"" help:"Change an account."`
}

type userCreateCmd struct {
	Name          string   `arg:"" help:"The name to sign in with: lower case letters, digits, dots, dashes."`
	Role          []string `default:"listener" enum:"listener,artist,label,admin" placeholder:"ROLE" help:"listener, artist, label or admin. May be repeated."`
	DisplayName   string   `placeholder:"TEXT" help:"The name that others see."`
	Email         string   `placeholder:"ADDRESS" help:"Address of the account's owner."`
	Market        string   `placeholder:"CC" help:"Country by its two letters, such as DE."`
	PasswordStdin bool     `help:"Read the password from standard input. Without this flag it is asked for."`
	JSON          bool     `name:"json" help:"Print the account as an object."`
}

func (c *userCreateCmd) Run(ctx context.Context, r *run) error {
	_, a, err := r.api()
	if err != nil {
		return err
	}
	password, err := r.password(c.PasswordStdin, "Password for "+show.Clean(c.Name)+": ")
	if err != nil {
		return err
	}
	res, err := a.Accounts().CreateAccount(ctx, &userv1.CreateAccountRequest{
		Username: c.Name, Password: password, DisplayName: c.DisplayName, Email: c.Email, Roles: rolesOf(c.Role), Market: c.Market,
		IdempotencyKey: id.New(time.Now(), rand.Reader).String(),
	})
	if err != nil {
		return fmt.Errorf("create account: %w", err)
	}
	return r.accounts(c.JSON, true, res.GetAccount())
}

type userListCmd struct {
	JSON bool `name:"json" help:"Print an array of accounts."`
}

func (c *userListCmd) Run(ctx context.Context, r *run) error {
	_, a, err := r.api()
	if err != nil {
		return err
	}
	var all []*userv1.Account
	err = eachAccount(ctx, a.Accounts(), func(acc *userv1.Account) bool {
		all = append(all, acc)
		return true
	})
	if err != nil {
		return err
	}
	return r.accounts(c.JSON, false, all...)
}

type userUpdateCmd struct {
	User          string   `arg:"" help:"The account's name or id."`
	Role          []string `enum:"listener,artist,label,admin" placeholder:"ROLE" help:"The roles it has from now on. May be repeated."`
	Disable       bool     `xor:"able" help:"Let nobody sign in to it."`
	Enable        bool     `xor:"able" help:"Let it be signed in to again."`
	Plan          string   `placeholder:"free|premium" help:"Its plan."`
	Market        string   `placeholder:"CC" help:"Country by its two letters."`
	PasswordStdin bool     `help:"Read a new password from standard input."`
	JSON          bool     `name:"json" help:"Print the account as an object."`
}

func (c *userUpdateCmd) Run(ctx context.Context, r *run) error {
	_, a, err := r.api()
	if err != nil {
		return err
	}
	var found *userv1.Account
	err = eachAccount(ctx, a.Accounts(), func(acc *userv1.Account) bool {
		if acc.GetId() == c.User || acc.GetUsername() == c.User {
			found = acc
		}
		return found == nil
	})
	if err != nil {
		return err
	}
	if found == nil {
		return fmt.Errorf("there is no account %q", c.User)
	}
	req := &userv1.UpdateAccountRequest{Id: found.GetId(), Revision: found.GetRevision(), Roles: rolesOf(c.Role)}
	if c.Disable || c.Enable {
		req.Disabled = &c.Disable
	}
	for _, f := range []struct {
		value string
		field **string
	}{{c.Plan, &req.Plan}, {c.Market, &req.Market}} {
		if f.value != "" {
			*f.field = &f.value
		}
	}
	if c.PasswordStdin {
		password, err := r.password(true, "")
		if err != nil {
			return err
		}
		req.Password = &password
	}
	res, err := a.Accounts().UpdateAccount(ctx, req)
	if err != nil {
		return fmt.Errorf("update account: %w", err)
	}
	return r.accounts(c.JSON, true, res.GetAccount())
}

// eachAccount calls f for every account until it returns false.
func eachAccount(ctx context.Context, c userv1connect.AccountServiceClient, f func(*userv1.Account) bool) error {
	const page = 200
	for token := ""; ; {
		res, err := c.ListAccounts(ctx, &userv1.ListAccountsRequest{PageSize: page, PageToken: token})
		if err != nil {
			return fmt.Errorf("list accounts: %w", err)
		}
		for _, a := range res.GetAccounts() {
			if !f(a) {
				return nil
			}
		}
		next := res.GetNextPageToken()
		if next == "" || next == token {
			return nil
		}
		token = next
	}
}

func rolesOf(names []string) []authv1.Role {
	out := make([]authv1.Role, 0, len(names))
	for _, n := range names {
		out = append(out, authv1.Role(authv1.Role_value["ROLE_"+strings.ToUpper(n)]))
	}
	return out
}

// accountJSON is an account as scripts read it.
type accountJSON struct {
	ID          string   `json:"id"`
	Username    string   `json:"username"`
	DisplayName string   `json:"display_name"`
	Email       string   `json:"email"`
	Roles       []string `json:"roles"`
	Market      string   `json:"market"`
	Plan        string   `json:"plan"`
	Disabled    bool     `json:"disabled"`
}

// accounts prints accounts: with one, the object alone.
func (r *run) accounts(asJSON, one bool, list ...*userv1.Account) error {
	out, rows := make([]accountJSON, 0, len(list)), make([][]string, 0, len(list))
	for _, a := range list {
		j := accountJSON{
			ID: a.GetId(), Username: a.GetUsername(), DisplayName: a.GetDisplayName(), Email: a.GetEmail(), Roles: []string{},
			Market: a.GetMarket(), Plan: a.GetPlan(), Disabled: a.GetDisabled(),
		}
		for _, role := range a.GetRoles() {
			j.Roles = append(j.Roles, strings.ToLower(strings.TrimPrefix(role.String(), "ROLE_")))
		}
		state := "active"
		if j.Disabled {
			state = "disabled"
		}
		out = append(out, j)
		rows = append(rows, []string{j.ID, j.Username, strings.Join(j.Roles, ","), orDash(j.Plan), orDash(j.Market), state, j.DisplayName})
	}
	switch {
	case asJSON && one && len(out) == 1:
		return show.JSON(r.Out, out[0])
	case asJSON:
		return show.JSON(r.Out, out)
	}
	return show.Table(r.Out, []string{"ID", "NAME", "ROLES", "PLAN", "MARKET", "STATE", "DISPLAY NAME"}, rows)
}
