package testengine

import (
	"context"
	"fmt"
	"os"
	"slices"
	"syscall"
)

// RedisServer is a running redis-server that keeps everything in memory.
type RedisServer struct {
	// Addr is its address, "host:port".
	Addr string

	program, dir string
	settings     []string
	process      *process
}

// Redis starts a server that ends with the test. settings are further ones of
// redis.conf, name and value in turn; with tls-cert-file its port speaks TLS alone.
func Redis(tb Host, settings ...string) *RedisServer {
	tb.Helper()
	r := &RedisServer{program: locate(tb, "redis"), dir: tb.TempDir(), settings: settings}
	r.process = start(tb, 1, func(ports []string) (*process, error) {
		r.Addr = "127.0.0.1:" + ports[0]
		return r.run(tb.Context(), ports[0])
	})
	endWith(tb, func() *process { return r.process })
	return r
}

// run starts it. Nothing is saved: what Redis holds can be rebuilt.
func (r *RedisServer) run(ctx context.Context, port string) (*process, error) {
	args := []string{"--bind", "127.0.0.1", "--dir", r.dir, "--save", "", "--appendonly", "no"}
	if slices.Contains(r.settings, "tls-cert-file") {
		args = append(args, "--port", "0", "--tls-port", port)
	} else {
		args = append(args, "--port", port)
	}
	for i := 0; i+1 < len(r.settings); i += 2 {
		args = append(args, "--"+r.settings[i], r.settings[i+1])
	}
	p, err := launch("Redis", r.dir, "Ready to accept connections", environment(), r.program, args...)
	if err != nil {
		return nil, err
	}
	return p, p.wait(ctx, p.log.ready)
}

// Pause stops the server in its tracks: its port takes connections and nothing answers.
func (r *RedisServer) Pause() error { return r.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on, with everything that was sent to it meanwhile.
func (r *RedisServer) Resume() error { return r.signal(syscall.SIGCONT) }

func (r *RedisServer) signal(s os.Signal) error {
	if err := r.process.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal Redis: %w", err)
	}
	return nil
}

// Crash kills the server, and what it held is gone.
func (r *RedisServer) Crash() { r.process.kill() }

// Restart starts a server that has crashed, empty and at its old address, and returns when
// it is ready.
func (r *RedisServer) Restart(ctx context.Context) error {
	p, err := r.run(ctx, port(r.Addr))
	if p != nil {
		r.process = p
	}
	if err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	return nil
}
