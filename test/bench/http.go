package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/segue-music/segue/audio/ogg"
)

// caseRTT is the bare round trip of the link.
const caseRTT = "bare round trip (UDP echo)"

// seekAfter is how long the listener has listened before a seek.
const seekAfter = 500 * time.Millisecond

// seekTarget is a position that no one has buffered.
func seekTarget(trackSeconds int) time.Duration {
	return time.Duration(40_000+rand.IntN((trackSeconds-50)*1000)) * time.Millisecond //nolint:gosec // a draw for a test
}

// peer measures the usual ways to play music.
type peer struct {
	*meter
	tls *tls.Config
}

// carrier is an HTTP client that can be thrown away with its connections.
type carrier struct {
	*http.Client
	close func()
}

// HTTP versions.
const (
	h1 = "HTTP/1.1"
	h2 = "HTTP/2"
	h3 = "HTTP/3"
)

// over makes a client of one HTTP version. resumed, if any, keeps what HTTP/3 knows of a
// server between connections.
func (p *peer) over(version string, resumed *resumed) carrier {
	config := p.tls.Clone()
	if version == h3 {
		t := &http3.Transport{TLSClientConfig: config, QUICConfig: &quic.Config{}}
		if resumed != nil {
			config.ClientSessionCache, t.QUICConfig.TokenStore = resumed.tls, resumed.tokens
		}
		return carrier{&http.Client{Transport: t}, func() { _ = t.Close() }} // it is thrown away
	}
	t := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: version == h2, DisableCompression: true}
	if version == h1 {
		config.NextProtos = []string{"http/1.1"}
		t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	return carrier{&http.Client{Transport: t}, t.CloseIdleConnections}
}

// resumed is what a client of HTTP/3 keeps.
type resumed struct {
	tls    tls.ClientSessionCache
	tokens quic.TokenStore
}

// get asks for a file from an offset; end breaks it off. length 0 is the rest of it.
func (c carrier) get(ctx context.Context, method, to string, offset, length int64) (io.Reader, func(), error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, method, to, nil)
	if err != nil {
		cancel()
		return nil, nil, fmt.Errorf("make request: %w", err)
	}
	if offset > 0 || length > 0 {
		last := ""
		if length > 0 {
			last = strconv.FormatInt(offset+length-1, 10)
		}
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%s", offset, last))
	}
	resp, err := c.Do(req)
	if err != nil {
		cancel()
		return nil, nil, fmt.Errorf("get: %w", err)
	}
	end := func() {
		cancel()
		_ = resp.Body.Close() // after cancel it has nothing to say
	}
	if resp.StatusCode >= http.StatusBadRequest {
		end()
		return nil, nil, fmt.Errorf("get %s: %s", to, resp.Status)
	}
	return resp.Body, end, nil
}

// firstPage reads an Ogg stream to the end of its first page of sound.
func firstPage(r io.Reader) error {
	pages := ogg.NewReader(r)
	for {
		p, err := pages.Next()
		if err != nil {
			return fmt.Errorf("read page: %w", err)
		}
		if p.Granule > 0 {
			return nil
		}
	}
}

// start is the time from the request to the first page of sound.
func (c carrier) start(ctx context.Context, method, to string, offset, length int64) (time.Duration, func(), error) {
	begin := time.Now()
	body, end, err := c.get(ctx, method, to, offset, length)
	if err != nil {
		return 0, nil, err
	}
	b := bufio.NewReader(body)
	if err := firstPage(b); err != nil {
		end()
		return 0, nil, err
	}
	d := time.Since(begin)
	if length > 0 { // only what was read whole leaves a connection of HTTP/1.1 usable
		return d, func() { _, _ = io.Copy(io.Discard, b); end() }, nil
	}
	return d, end, nil
}

// whole reads a small file.
func (c carrier) whole(ctx context.Context, to string) ([]byte, error) {
	body, end, err := c.get(ctx, http.MethodGet, to, 0, 0)
	if err != nil {
		return nil, err
	}
	defer end()
	b, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", to, err)
	}
	return b, nil
}

// play asks the API where a file is, then fetches it from there.
func (p *peer) play(ctx context.Context, c carrier, path string) (time.Duration, func(), error) {
	begin := time.Now()
	b, err := c.whole(ctx, p.apiURL("play?path="+url.QueryEscape(path)))
	if err != nil {
		return 0, nil, err
	}
	var answer struct{ URL string }
	if err := json.Unmarshal(b, &answer); err != nil {
		return 0, nil, fmt.Errorf("read answer: %w", err)
	}
	_, end, err := c.start(ctx, http.MethodGet, answer.URL, 0, 0)
	return time.Since(begin), end, err
}

// file is the path of a random track.
func (p *peer) file(name string) string { return fmt.Sprintf("%d/%s", p.any().Peer, name) }

// pageAt is the offset of the page that holds a position: what a client with an index of
// its own would know. A client without one has to guess, and asks several times.
func (p *peer) pageAt(path string, at time.Duration) (int64, error) {
	f, err := os.Open(filepath.Join(p.Media, filepath.FromSlash(path)))
	if err != nil {
		return 0, fmt.Errorf("find page: %w", err)
	}
	defer f.Close()
	in := &counter{r: bufio.NewReader(f)}
	pages := ogg.NewReader(in)
	for {
		offset := in.n
		page, err := pages.Next()
		if err != nil {
			return 0, errors.Join(fmt.Errorf("find page at %s: %w", at, err))
		}
		if page.Granule >= at.Milliseconds()*44100/1000 {
			return offset, nil
		}
	}
}

// counter knows how far it has read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}
