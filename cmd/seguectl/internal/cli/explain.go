package cli

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"connectrpc.com/connect"
	"golang.org/x/term"

	"github.com/segue-music/segue/cmd/seguectl/internal/home"
	"github.com/segue-music/segue/cmd/seguectl/internal/show"
	"github.com/segue-music/segue/cmd/seguectl/internal/signin"
)

// explain says what went wrong in words for the one who typed the command.
func explain(err error) string {
	for _, known := range []error{home.ErrSignedOut, signin.ErrEnded, signin.ErrPlainHTTP} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	var authority x509.UnknownAuthorityError
	var lost *url.Error
	var refused *connect.Error
	switch {
	case errors.As(err, &authority):
		return "the server's certificate is from an authority that is not known here: name its certificate by seguectl login --ca FILE"
	case errors.As(err, &lost):
		where := lost.URL
		if u, parseErr := url.Parse(lost.URL); parseErr == nil {
			where = u.Scheme + "://" + u.Host
		}
		return fmt.Sprintf("%s is not reachable: %v", where, lost.Err)
	case errors.As(err, &refused):
		text := refused.Message()
		if refused.Code() == connect.CodeUnauthenticated {
			text += " (run seguectl login)"
		}
		return show.Clean(text)
	}
	return show.Clean(err.Error())
}

// maxPassword is what the server takes, in bytes.
const maxPassword = 1024

// password reads a password: the first line of standard input, or what is typed, unseen,
// at a terminal.
func (r *run) password(fromStdin bool, prompt string) (string, error) {
	if !fromStdin {
		f, ok := r.In.(interface{ Fd() uintptr })
		if !ok || !term.IsTerminal(int(f.Fd())) {
			return "", errors.New("there is no terminal to ask for the password at: use --password-stdin")
		}
		fmt.Fprint(r.Err, prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(r.Err)
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		return checkPassword(string(b))
	}
	b, err := io.ReadAll(io.LimitReader(r.In, maxPassword+2))
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return checkPassword(strings.TrimSuffix(line, "\r"))
}

func checkPassword(s string) (string, error) {
	switch {
	case s == "":
		return "", errors.New("the password is empty")
	case len(s) > maxPassword:
		return "", fmt.Errorf("the password is longer than %d bytes", maxPassword)
	}
	return s, nil
}
