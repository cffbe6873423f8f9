// Package tus sends files by resumable upload, tus 1.0.0: an upload is created with its
// length, and its bytes follow in requests that each begin where the server says the
// last one ended (https://tus.io/protocols/resumable-upload).
package tus

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Version is the version of the protocol.
const Version = "1.0.0"

// ErrGone says that the server does not know an upload any more.
var ErrGone = errors.New("the upload is not known to the server any more")

// RefusalError is an answer that is no success.
type RefusalError struct {
	Status int
	// Text is what the server says about it.
	Text string
	// RetryAfter is how long it asks to wait.
	RetryAfter time.Duration
}

func (r *RefusalError) Error() string {
	if r.Text != "" {
		return r.Text
	}
	return fmt.Sprintf("the server answers %d %s", r.Status, http.StatusText(r.Status))
}

// Is makes a RefusalError of an unknown upload an ErrGone.
func (r *RefusalError) Is(target error) bool {
	return target == ErrGone && (r.Status == http.StatusNotFound || r.Status == http.StatusGone)
}

// passing reports whether the same may work a moment later.
func (r *RefusalError) passing() bool {
	switch r.Status {
	case http.StatusConflict, // the offset was another one: ask for it
		http.StatusLocked, // the last request is still being ended
		http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusBadRequest: // a request of the last run came after ours, and ended it
		return strings.HasPrefix(r.Text, "ERR_UPLOAD_INTERRUPTED")
	}
	return r.Status >= 500
}

// Client sends to one server.
type Client struct {
	HTTP *http.Client
	// Endpoint is where uploads are created.
	Endpoint *url.URL
	// Chunk bounds the bytes of one request; 0 is 32 MiB.
	Chunk int64
	// Stall ends a request when for so long nothing of it is taken; 0 is a minute.
	Stall time.Duration
	// Permanent tells failures of HTTP that another attempt does not mend; nil: none.
	Permanent func(error) bool
	// Pause waits between attempts; nil waits for real.
	Pause func(ctx context.Context, d time.Duration) error
}

// Create begins an upload of size bytes, and returns its URL.
func (c *Client) Create(ctx context.Context, size int64, meta map[string]string) (*url.URL, error) {
	var location *url.URL
	err := c.persist(ctx, func() (bool, error) {
		req, err := c.request(ctx, http.MethodPost, c.Endpoint, nil)
		if err != nil {
			return false, err
		}
		req.Header.Set("Upload-Length", strconv.FormatInt(size, 10))
		if len(meta) > 0 {
			req.Header.Set("Upload-Metadata", encode(meta))
		}
		answer, err := c.do(req, http.StatusCreated)
		if err != nil {
			return false, err
		}
		at, err := c.Endpoint.Parse(answer.Get("Location"))
		if err != nil || answer.Get("Location") == "" {
			return false, &fatal{errors.New("the server named no place for the upload")}
		}
		if at.Scheme != c.Endpoint.Scheme || at.Host != c.Endpoint.Host {
			return false, &fatal{fmt.Errorf("the server wants the upload at another place, %s", at.Host)}
		}
		location = at
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("begin upload: %w", err)
	}
	return location, nil
}

// encode writes metadata as the protocol has it.
func encode(meta map[string]string) string {
	pairs := make([]string, 0, len(meta))
	for _, k := range slices.Sorted(maps.Keys(meta)) {
		pairs = append(pairs, k+" "+base64.StdEncoding.EncodeToString([]byte(meta[k])))
	}
	return strings.Join(pairs, ",")
}

// Offset asks how many bytes the server has of an upload, of how many; ErrGone.
func (c *Client) Offset(ctx context.Context, at *url.URL) (offset, length int64, err error) {
	req, err := c.request(ctx, http.MethodHead, at, nil)
	if err != nil {
		return 0, 0, err
	}
	answer, err := c.do(req, http.StatusOK, http.StatusNoContent)
	if err != nil {
		return 0, 0, err
	}
	offset, err = count(answer, "Upload-Offset")
	if err != nil {
		return 0, 0, err
	}
	length, err = count(answer, "Upload-Length")
	return offset, length, err
}

func count(answer http.Header, header string) (int64, error) {
	n, err := strconv.ParseInt(answer.Get(header), 10, 64)
	if err != nil || n < 0 {
		return 0, &fatal{fmt.Errorf("the answer has no %s", header)}
	}
	return n, nil
}

func (c *Client) request(ctx context.Context, method string, at *url.URL, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, at.String(), body)
	if err != nil {
		return nil, &fatal{fmt.Errorf("make request: %w", err)}
	}
	req.Header.Set("Tus-Resumable", Version)
	return req, nil
}

// do sends a request, reads the answer to its end and returns its header.
func (c *Client) do(req *http.Request, good ...int) (http.Header, error) {
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // what there is of it is enough for a message
	if slices.Contains(good, resp.StatusCode) {
		return resp.Header, nil
	}
	r := &RefusalError{Status: resp.StatusCode}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		r.Text = strings.TrimSpace(strings.ToValidUTF8(string(body), "\ufffd"))
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		r.RetryAfter = time.Duration(min(s, 60)) * time.Second
	}
	return nil, r
}
