package testengine

import (
	"context"
	"net/http"
	"time"
)

// Gateway is a running versitygw, an S3 server on a folder.
type Gateway struct {
	// Endpoint is its URL, for requests in path style.
	Endpoint string
	// Key and Secret are the credentials of its only account.
	Key, Secret string
	// Region is the one it signs for.
	Region string
}

// S3 starts a gateway without buckets that ends with the test.
func S3(tb Host) Gateway {
	tb.Helper()
	return startS3(tb)
}

// S3Telling is S3 that tells a topic of Kafka of what is done with its objects.
func S3Telling(tb Host, b *Broker, topic string) Gateway {
	tb.Helper()
	return startS3(tb, "--event-kafka-url", b.Seeds[0], "--event-kafka-topic", topic)
}

func startS3(tb Host, more ...string) Gateway {
	tb.Helper()
	program := locate(tb, "s3")
	// Beside the objects' folder, not in their extended attributes: tmpfs may have none.
	data, sidecar := tb.TempDir(), tb.TempDir()
	g := Gateway{Key: "key-of-the-test", Secret: "secret-of-the-test", Region: "eu-north-1"}
	p := start(tb, 1, func(ports []string) (*process, error) {
		g.Endpoint = "http://127.0.0.1:" + ports[0]
		p, err := launch("versitygw", data, "", environment("ROOT_ACCESS_KEY="+g.Key, "ROOT_SECRET_KEY="+g.Secret),
			program, append(append([]string{"--quiet", "--region", g.Region, "--port", "127.0.0.1:" + ports[0]}, more...), "posix", "--sidecar", sidecar, data)...)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(tb.Context())
		defer cancel()
		return p, p.wait(ctx, answers(ctx, g.Endpoint, "Server", "VERSITYGW"))
	})
	endWith(tb, func() *process { return p })
	return g
}

// answers is closed when url gives an answer, whichever, with a header of that value: one
// of the engine's own, and not of who took its port.
func answers(ctx context.Context, url, header, value string) <-chan struct{} {
	ready := make(chan struct{})
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
			if err != nil {
				return // the URL is ours and sound
			}
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
				if resp.Header.Get(header) == value {
					close(ready)
					return
				}
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
	return ready
}
