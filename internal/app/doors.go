package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"time"

	"github.com/segue-music/segue/internal/lifecycle"
)

// doors are where the process listens; a field is empty where it does not.
type doors struct {
	HTTP string `json:"http,omitempty"` // base URL of the gateway
	QUIC string `json:"quic,omitempty"` // host:port
	RPC  string `json:"rpc,omitempty"`
	Ops  string `json:"ops,omitempty"`
	PID  int    `json:"pid"`
}

// addListeners adds the doors for machines: calls of other processes, and operations.
func (p *process) addListeners() {
	if p.config.RPC.Listen != "" {
		p.listen("rpc", p.config.RPC.Listen, &p.doors.RPC, p.rpcHandler())
	}
	if p.config.OpsListen == "" {
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", p.metricsPage)
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := p.isReady(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	p.listen("ops", p.config.OpsListen, &p.doors.Ops, mux)
}

// listen adds a plain server that also speaks HTTP/2 in the clear, and notes its address.
func (p *process) listen(name, addr string, at *string, h http.Handler) {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		Protocols: &http.Protocols{},
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	var ln net.Listener
	p.group.Add(lifecycle.Component{
		Name: name + " listener",
		Start: func(ctx context.Context) (err error) {
			if ln, err = (&net.ListenConfig{}).Listen(ctx, "tcp", addr); err != nil {
				return err
			}
			*at = "http://" + ln.Addr().String()
			return nil
		},
		Run: func(ctx context.Context) error {
			stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
			defer stop()
			if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
		Drain: srv.Shutdown,
	})
}

// ready tells where everything is, in the log and in the ready file.
func (p *process) ready() error {
	p.doors.PID = os.Getpid()
	p.started.Store(true)
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
