package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/segue-music/segue/cmd/seguectl/internal/api"
	"github.com/segue-music/segue/cmd/seguectl/internal/home"
	"github.com/segue-music/segue/cmd/seguectl/internal/show"
	"github.com/segue-music/segue/cmd/seguectl/internal/signin"
)

type loginCmd struct {
	Server        string `required:"" placeholder:"URL" help:"The server, such as https://music.example.org."`
	User          string `required:"" placeholder:"NAME" help:"The name to sign in with."`
	PasswordStdin bool   `help:"Read the password from standard input. Without this flag it is asked for."`
	CA            string `name:"ca" placeholder:"FILE" type:"existingfile" help:"Certificate of an authority to trust, in PEM, for a server that signs its own. It is remembered."`
	PlainHTTP     bool   `name:"plain-http" help:"Send the password over http although the server is another machine."`
}

func (c *loginCmd) Help() string {
	return `The password is never a part of the command line, where others could see it.
The sign-in is kept in the configuration folder, readable by you only; it lasts until seguectl logout.`
}

func (c *loginCmd) Run(ctx context.Context, r *run) error {
	base, err := signin.ParseServer(c.Server)
	if err != nil {
		return err
	}
	dir, err := r.home()
	if err != nil {
		return err
	}
	cred := home.Credentials{Server: base.String(), User: c.User}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return fmt.Errorf("read certificate: %w", err)
		}
		cred.CA = string(pem)
	} else if old, err := dir.Credentials(); err == nil && old.Server == cred.Server {
		cred.CA = old.CA
	}
	client, err := r.signin(cred)
	if err != nil {
		return err
	}
	client.PlainHTTP = c.PlainHTTP
	password, err := r.password(c.PasswordStdin, "Password of "+show.Clean(c.User)+": ")
	if err != nil {
		return err
	}
	tokens, err := client.Login(ctx, c.User, password)
	if err != nil {
		return err
	}
	cred.RefreshToken, cred.AccessToken, cred.Expires = tokens.Refresh, tokens.Access, tokens.Expires
	unlock, err := dir.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	old, oldErr := dir.Credentials()
	if err := dir.SaveCredentials(cred); err != nil {
		return err
	}
	if oldErr == nil && old.Server == cred.Server {
		// The sign-in that this one takes the place of is of no more use to anyone.
		if err := r.revoke(ctx, old); err != nil {
			r.log.Debug("the sign-in before was not ended", "err", err)
		}
	}
	r.say("Signed in to %s as %s.", cred.Server, show.Clean(cred.User))
	return nil
}

// signin makes the client that signs in by the trust that credentials hold.
func (r *run) signin(cred home.Credentials) (*signin.Client, error) {
	base, err := signin.ParseServer(cred.Server)
	if err != nil {
		return nil, err
	}
	transport, err := api.Transport(cred.CA, r.agent())
	if err != nil {
		return nil, err
	}
	return &signin.Client{Base: base, Transport: transport, Now: time.Now, Random: rand.Reader}, nil
}

func (r *run) revoke(ctx context.Context, cred home.Credentials) error {
	client, err := r.signin(cred)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return client.Revoke(ctx, cred.RefreshToken)
}

type logoutCmd struct{}

func (c *logoutCmd) Run(ctx context.Context, r *run) error {
	dir, err := r.home()
	if err != nil {
		return err
	}
	unlock, err := dir.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	cred, err := dir.Credentials()
	if errors.Is(err, home.ErrSignedOut) {
		r.say("Nobody is signed in.")
		return dir.ForgetCredentials()
	}
	if err != nil {
		return err
	}
	told := r.revoke(ctx, cred)
	if err := dir.ForgetCredentials(); err != nil {
		return err
	}
	if told != nil {
		r.note("The server could not be told: %s", explain(told))
	}
	r.say("Signed out of %s.", cred.Server)
	return nil
}
