package app

import (
	"errors"
	"fmt"
	"io"
)

// checkModules asks every module about its settings, whichever of them run here: a file
// that all processes share is right or wrong as a whole.
func (c *Config) checkModules() error {
	_, logErr := c.Obs.Logger(io.Discard)
	for _, m := range []struct {
		name string
		err  error
	}{
		{"obs", errors.Join(logErr, c.Obs.Check())},
		{"rpc", c.RPC.Check()},
		{"event", c.Event.Check()},
		{"stores", c.Stores.Check()},
		{"secrets", c.checkWrap()},
		{"blob", checkBlobURL(c.Blob)},
		{"redis", c.Redis.Check()},
		{"tls", c.TLS.Check(c.HTTP.Listen)},
		{"http", c.HTTP.Check()},
		{"quic", c.QUIC.Validate()},
		{"collect", c.Collect.Validate()},
		{"user", c.User.Check()},
		{"playback", c.Playback.Validate()},
		{"upload", c.Upload.Check()},
		{"warehouse", c.Warehouse.Check()},
		{"charts", c.Charts.Check()},
	} {
		if m.err != nil {
			return fmt.Errorf("settings of %s: %w", m.name, m.err)
		}
	}
	return nil
}
