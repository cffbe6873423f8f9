package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/test/person"
)

// spec is what the children are told.
type spec struct {
	Segue, CA, Phrase string
	Accounts          int
	AccountsFile      string
	Listeners         int
	Transport         string
	Ramp              time.Duration
	Seek, Skip        float64
	Tracks            []string // ids
	Objects           []string // files of the sealed renditions, for the peer
	PeerAddr          string
}

func readSpec(path string) (*spec, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	s := &spec{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	return s, nil
}

// makeAccounts makes the accounts and signs each of them in; their refresh tokens go to a
// file. It is a process and a run of the server of its own, so that the hashing of
// passwords is no part of what is measured.
func makeAccounts(ctx context.Context, path string) error {
	s, err := readSpec(path)
	if err != nil {
		return err
	}
	config, err := person.Trusting(s.CA)
	if err != nil {
		return err
	}
	web := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	admin, err := person.SignIn(ctx, web, s.Segue, "admin", s.Phrase)
	if err != nil {
		return err
	}
	people := userv1connect.NewAccountServiceClient(admin.Client(web), s.Segue)
	all := make([]*person.Person, s.Accounts)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4) // the server hashes as many passwords at a time as it has processors
	for i := range all {
		g.Go(func() error {
			name := fmt.Sprintf("listener%d", i)
			_, err := people.CreateAccount(ctx, &userv1.CreateAccountRequest{
				Username: name, Password: s.Phrase, DisplayName: name, Roles: []authv1.Role{authv1.Role_ROLE_LISTENER}, Market: "US",
			})
			if err != nil {
				return fmt.Errorf("make account: %w", err)
			}
			all[i], err = person.SignIn(ctx, web, s.Segue, name, s.Phrase)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	b, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("keep accounts: %w", err)
	}
	return os.WriteFile(s.AccountsFile, b, 0o600)
}
