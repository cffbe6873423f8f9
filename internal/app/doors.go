package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/segue-music/segue/internal/lifecycle"
	"github.com/segue-music/segue/internal/obs"
)

// doors are where the process listens; a field is empty where it does not.
type doors struct {
	HTTP string `json:"http,omitempty"` // base URL of the gateway
	QUIC string `json:"quic,omitempty"` // host:port
	RPC  string `json:"rpc,omitempty"`
	Ops  string `json:"ops,omitempty"`
	PID  int    `json:"pid"`
}

// addOps adds the door for operations. It opens first and closes last, so that a process
// that starts or drains says so.
func (p *process) addOps() {
	if p.config.OpsListen != "" {
		p.listen("ops", p.config.OpsListen, &p.doors.Ops, obs.Door(obs.DoorDeps{
			Metrics: p.metricsPage, Alive: p.health.Alive, Ready: p.health.Ready, Profiles: p.profiles, RemoteProfiles: p.config.OpsRemoteProfiles,
		}), nil, false)
	}
}

// listen adds a server by TLS, or without a configuration for that a plain one that also
// speaks HTTP/2 in the clear, and notes its address. One that does not drain answers until
// its turn to stop.
func (p *process) listen(name, addr string, at *string, h http.Handler, conf *tls.Config, drains bool) {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		Protocols: &http.Protocols{}, TLSConfig: conf,
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelWarn),
	}
	scheme := "http"
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(conf == nil)
	if conf != nil {
		srv.Protocols.SetHTTP2(true)
		scheme = "https"
	}
	var ln net.Listener
	door := lifecycle.Component{
		Name: name + " listener",
		Start: func(ctx context.Context) (err error) {
			if ln, err = (&net.ListenConfig{}).Listen(ctx, "tcp", addr); err != nil {
				return err
			}
			*at = scheme + "://" + ln.Addr().String()
			return nil
		},
		Run: func(ctx context.Context) error {
			stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
			defer stop()
			serve := srv.Serve
			if conf != nil {
				serve = func(ln net.Listener) error { return srv.ServeTLS(ln, "", "") }
			}
			if err := serve(ln); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
	}
	if drains {
		door.Drain = srv.Shutdown
	}
	p.group.Add(door)
}

// ready tells where everything is, in the log and in the ready file.
func (p *process) ready() error {
	p.doors.PID = os.Getpid()
	p.health.Started()
	p.log.Info("ready", "version", p.version, "http", p.doors.HTTP, "quic", p.doors.QUIC, "ops", p.doors.Ops, "rpc", p.doors.RPC)
	if p.config.ReadyFile == "" {
		return nil
	}
	b, err := json.Marshal(p.doors)
	if err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	// As a whole: who waits for the file reads it at once.
	part := filepath.Join(filepath.Dir(p.config.ReadyFile), ".ready-"+p.newID())
	if err := os.WriteFile(part, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	if err := os.Rename(part, p.config.ReadyFile); err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	return nil
}
