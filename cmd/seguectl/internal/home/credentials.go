package home

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/segue-music/segue/stream/id"
)

// ErrSignedOut says that nobody is signed in.
var ErrSignedOut = errors.New("not signed in: run seguectl login --server URL --user NAME")

// Credentials say who is signed in where.
type Credentials struct {
	Server string `json:"server"`
	User   string `json:"user"`
	// CA are the certificates of the authorities to trust beside the system's, in PEM.
	CA           string    `json:"ca,omitempty"`
	RefreshToken string    `json:"refresh_token"`
	AccessToken  string    `json:"access_token"`
	Expires      time.Time `json:"access_token_expires"`
}

// String tells nothing that is secret.
func (c Credentials) String() string { return c.User + " at " + c.Server }

// GoString keeps the tokens out of what %#v writes.
func (c Credentials) GoString() string { return c.String() }

const (
	credentialsFile = "credentials.json"
	deviceFile      = "device"
)

// Credentials reads who is signed in; ErrSignedOut when nobody is.
func (d *Dir) Credentials() (Credentials, error) {
	b, err := os.ReadFile(d.file(credentialsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Credentials{}, ErrSignedOut
	}
	if err != nil {
		return Credentials{}, fmt.Errorf("read credentials: %w", err)
	}
	var c Credentials
	if err := json.Unmarshal(b, &c); err != nil || c.Server == "" || c.RefreshToken == "" {
		return Credentials{}, fmt.Errorf("read credentials: %s is damaged: %w", credentialsFile, ErrSignedOut)
	}
	return c, nil
}

// SaveCredentials returns when they are durable.
func (d *Dir) SaveCredentials(c Credentials) error {
	b, err := json.MarshalIndent(c, "", "  ") //nolint:gosec // into a file of its owner only: that is what it is for
	if err != nil {
		return fmt.Errorf("save credentials: %w", err)
	}
	return WriteFile(d.file(credentialsFile), append(b, '\n'))
}

// ForgetCredentials removes them.
func (d *Dir) ForgetCredentials() error {
	err := os.Remove(d.file(credentialsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget credentials: %w", err)
	}
	return nil
}

// DeviceID is the id of this device, drawn once. The caller holds the lock.
func (d *Dir) DeviceID() (string, error) {
	b, err := os.ReadFile(d.file(deviceFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read device id: %w", err)
	}
	if known, err := id.Parse(strings.TrimSpace(string(b))); err == nil {
		return known.String(), nil
	}
	fresh := id.New(time.Now(), rand.Reader).String()
	if err := WriteFile(d.file(deviceFile), []byte(fresh+"\n")); err != nil {
		return "", err
	}
	return fresh, nil
}
