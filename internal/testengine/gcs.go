package testengine

import "context"

// CloudStorage is a running fake-gcs-server, which speaks the JSON API of Google Cloud
// Storage on a folder and lets everybody in.
type CloudStorage struct {
	// Endpoint is its URL, for STORAGE_EMULATOR_HOST.
	Endpoint string
}

// GCS starts a server without buckets that ends with the test.
func GCS(tb Host) CloudStorage {
	tb.Helper()
	program, data := locate(tb, "gcs"), tb.TempDir()
	var g CloudStorage
	p := start(tb, 1, func(ports []string) (*process, error) {
		g.Endpoint = "http://127.0.0.1:" + ports[0]
		// It writes its links with the public host.
		p, err := launch("fake-gcs-server", data, "", environment(), program, "-scheme", "http", "-host", "127.0.0.1", "-port", ports[0],
			"-public-host", "127.0.0.1:"+ports[0], "-external-url", g.Endpoint, "-backend", "filesystem", "-filesystem-root", data, "-log-level", "warn")
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(tb.Context())
		defer cancel()
		return p, p.wait(ctx, answers(ctx, g.Endpoint+"/_internal/healthcheck", "", ""))
	})
	endWith(tb, func() *process { return p })
	return g
}
