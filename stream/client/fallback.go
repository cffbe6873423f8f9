package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/segue-music/segue/stream/wire"
)

// contentType of the fallback, both ways.
const contentType = "application/x-segue-frames"

// askHTTP sends the PLAY by POST. The answer ends when its credit is used up.
func (s *Session) askHTTP(ctx context.Context, e Endpoint, p *wire.Play) (*answer, error) {
	if e.Fallback == "" {
		return nil, errors.New("endpoint has no fallback")
	}
	// Cancelling the request is the only way to stop the server's sending.
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.Fallback, bytes.NewReader(p.Append(nil)))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := s.cfg.HTTP.Do(req)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("ask by http: %w", err)
	}
	end := func() {
		cancel()
		_ = resp.Body.Close() // after cancel it has nothing to say
	}
	if resp.Header.Get("Content-Type") != contentType {
		end()
		return nil, fmt.Errorf("ask by http: %s, %q", resp.Status, resp.Header.Get("Content-Type"))
	}
	frames := wire.NewReader(resp.Body, wire.MaxServer)
	head, err := readHead(frames)
	if err != nil {
		end()
		return nil, err
	}
	return &answer{frames: frames, head: head, transport: TransportFallback, close: end, lost: func() {}}, nil
}
