package app

import (
	"context"
	"fmt"

	"github.com/segue-music/segue/internal/credfile"
	"github.com/segue-music/segue/services/user"
)

func buildUser(ctx context.Context, p *process) error {
	store, err := p.openUserStore(ctx)
	if err != nil {
		return err
	}
	cached, err := p.cacheUsers(store)
	if err != nil {
		return err
	}
	svc, err := user.New(user.Deps{
		Store: cached, Keys: p.ring, Config: p.config.User, Issuer: p.publicURL, Origins: p.origins,
		Log: p.log, Now: p.now, NewID: p.newID, Metrics: p.metrics, SharedLimits: p.sharedLimits("user"),
	})
	if err != nil {
		return err
	}
	var password string
	if f := p.config.AdminPasswordFile; f != "" {
		if password, err = credfile.Password(f); err != nil {
			return fmt.Errorf("read the admin's password: %w", err)
		}
	}
	made, err := svc.EnsureAdmin(ctx, password)
	if err != nil {
		return fmt.Errorf("make the admin: %w", err)
	}
	if made != "" {
		fmt.Fprintf(p.stdout, "First start: the account admin has the password %s (shown only now)\n", made)
	}
	p.serve("user", svc.Handler(p.server.Options()...))
	if err := p.relay("user", store.Relay(p.events, p.log)); err != nil {
		return err
	}
	p.run("user", svc.Run)
	return nil
}
