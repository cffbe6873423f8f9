package user

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/internal/identity"
)

// adminName is the first account's name.
const adminName = "admin"

// minPassword is the length below which no password is taken, as in the contract.
const minPassword = 8

// EnsureAdmin makes the account admin where no enabled admin exists. Without a password
// it makes one of 128 random bits and returns it, to be shown once. Where there is an
// admin nothing happens, whatever the password.
func (s *Service) EnsureAdmin(ctx context.Context, password string) (generated string, err error) {
	has, err := s.store.HasAdmin(ctx)
	if err != nil {
		return "", fmt.Errorf("ensure admin: %w", err)
	}
	if has {
		return "", nil
	}
	if password == "" {
		generated = strings.ToLower(rand.Text())
		password = generated
	}
	if len(password) < minPassword || len(password) > 1024 {
		return "", fmt.Errorf("ensure admin: %w", ErrInvalid.With("the admin's password has less than 8 bytes or more than 1024"))
	}
	a := Account{
		Username: adminName, DisplayName: "Admin",
		// Roles do not imply each other: the first account uploads and listens too.
		Roles: []authv1.Role{authv1.Role_ROLE_LISTENER, authv1.Role_ROLE_ARTIST, authv1.Role_ROLE_ADMIN},
	}
	_, err = s.create(ctx, a, password, identity.Identity{}, nil)
	if errors.Is(err, ErrExists) {
		// Another instance was quicker, or the name belongs to somebody who is no admin.
		if has, err2 := s.store.HasAdmin(ctx); err2 == nil && has {
			return "", nil
		}
	}
	if err != nil {
		return "", fmt.Errorf("ensure admin: %w", err)
	}
	return generated, nil
}

// FindAccount implements userv1connect.DirectoryServiceHandler.
func (s *Service) FindAccount(ctx context.Context, r *userv1.FindAccountRequest) (*userv1.FindAccountResponse, error) {
	a, _, err := s.store.AccountByName(ctx, r.GetUsername())
	if err != nil {
		return nil, err
	}
	return &userv1.FindAccountResponse{Id: a.ID}, nil
}
