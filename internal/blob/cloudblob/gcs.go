package cloudblob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2/google"

	"github.com/segue-music/segue/internal/blob"
)

const (
	gcsHost  = "https://storage.googleapis.com"
	gcsScope = "https://www.googleapis.com/auth/devstorage.read_write"
	// gcsTries and gcsPause bound the repeats of a request that only reads.
	gcsTries = 4
	gcsPause = 200 * time.Millisecond
)

// gcs is a [blob.Store] on a bucket of Google Cloud Storage, by its JSON API
// (cloud.google.com/storage/docs/json_api/v1). The vendor's client would bring gRPC, xDS
// and their registries into memory: a quarter of the program.
type gcs struct {
	client *http.Client
	host   string
	bucket string
}

var _ Bucket = (*gcs)(nil)

// openGCS opens a gs:// URL. Credentials are Google's application default ones, none with
// anonymous=true. STORAGE_EMULATOR_HOST names another server, as for Google's own clients.
func openGCS(ctx context.Context, u *url.URL) (*gcs, error) {
	anonymous := false
	for name, values := range u.Query() {
		var err error
		if name != "anonymous" {
			return nil, fmt.Errorf("gs: unknown setting %q", name)
		}
		if anonymous, err = strconv.ParseBool(values[0]); err != nil {
			return nil, fmt.Errorf("gs: setting %q is neither true nor false", name)
		}
	}
	g := &gcs{client: &http.Client{}, host: gcsHost, bucket: u.Host}
	if at := os.Getenv("STORAGE_EMULATOR_HOST"); at != "" {
		if !strings.Contains(at, "://") {
			at = "http://" + at
		}
		g.host = strings.TrimSuffix(at, "/")
		return g, nil
	}
	if anonymous {
		return g, nil
	}
	client, err := google.DefaultClient(context.WithoutCancel(ctx), gcsScope)
	if err != nil {
		return nil, fmt.Errorf("find Google's credentials: %w", err)
	}
	g.client = client
	return g, nil
}

// Close implements io.Closer.
func (g *gcs) Close() error {
	g.client.CloseIdleConnections()
	return nil
}

// gcsObject is the resource that the API answers with, as far as it is used.
type gcsObject struct {
	Name       string    `json:"name"`
	Size       int64     `json:"size,string"`
	Generation int64     `json:"generation,string"`
	Updated    time.Time `json:"updated"`
}

const gcsFields = "name,size,generation,updated"

func (o *gcsObject) info() blob.Info {
	return blob.Info{Key: o.Name, Size: o.Size, ModTime: o.Updated.UTC()}
}

// objectURL is where an object's resource is.
func (g *gcs) objectURL(key string, q url.Values) string {
	return g.host + "/storage/v1/b/" + url.PathEscape(g.bucket) + "/o/" + url.PathEscape(key) + "?" + q.Encode()
}

// gcsError turns an answer that is none of 2xx into an error.
func gcsError(res *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(res.Body, 512)) // only for the message
	err := fmt.Errorf("server answers %s: %.200q", res.Status, text)
	switch res.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("%w: %w", blob.ErrNotFound, err)
	case http.StatusPreconditionFailed:
		return fmt.Errorf("%w: %w", blob.ErrExists, err)
	}
	return err
}

// do sends a request without a body, one that only reads again when the server is away.
func (g *gcs) do(ctx context.Context, method, to string, header http.Header) (*http.Response, error) {
	for try := 1; ; try++ {
		req, err := http.NewRequestWithContext(ctx, method, to, nil)
		if err != nil {
			return nil, err
		}
		for k, v := range header {
			req.Header[k] = v
		}
		res, err := g.client.Do(req)
		if err == nil && res.StatusCode/100 == 2 {
			return res, nil
		}
		again := method == http.MethodGet && try < gcsTries && ctx.Err() == nil
		if err == nil {
			again = again && (res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests)
			err = errors.Join(gcsError(res), res.Body.Close())
		}
		if !again {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(gcsPause << (try - 1)):
		}
	}
}

func (g *gcs) read(ctx context.Context, to string, into any) error {
	res, err := g.do(ctx, http.MethodGet, to, nil)
	if err != nil {
		return err
	}
	err = json.NewDecoder(io.LimitReader(res.Body, 16<<20)).Decode(into)
	return errors.Join(err, res.Body.Close())
}

func (g *gcs) stat(ctx context.Context, key string) (*gcsObject, error) {
	if err := blob.CheckKey(key); err != nil {
		return nil, err
	}
	o := &gcsObject{}
	return o, g.read(ctx, g.objectURL(key, url.Values{"fields": {gcsFields}}), o)
}

// media reads length bytes of one generation of an object; the range is inside it.
func (g *gcs) media(ctx context.Context, o *gcsObject, offset, length int64) (io.ReadCloser, error) {
	if length == 0 {
		return http.NoBody, nil // the server refuses a range without bytes
	}
	res, err := g.do(ctx, http.MethodGet, g.objectURL(o.Name, url.Values{
		"alt": {"media"}, "generation": {strconv.FormatInt(o.Generation, 10)},
	}), http.Header{
		"Range": {fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)}, "Accept-Encoding": {"identity"},
	})
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusPartialContent && (offset != 0 || length != o.Size) {
		return nil, errors.Join(fmt.Errorf("server answers %s to a range", res.Status), res.Body.Close())
	}
	return res.Body, nil
}

// Put implements [blob.Store].
func (g *gcs) Put(ctx context.Context, key string, r io.Reader, opt blob.PutOptions) error {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	q := url.Values{"uploadType": {"media"}, "name": {key}, "fields": {gcsFields}}
	if opt.IfAbsent {
		q.Set("ifGenerationMatch", "0")
	}
	// The body is sent in chunks and breaks off with its reader's error, without the last
	// chunk: the server then keeps nothing.
	body := &failing{ctx: ctx, r: blob.SizedReader(r, opt.Size)}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.host+"/upload/storage/v1/b/"+url.PathEscape(g.bucket)+"/o?"+q.Encode(), body)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	res, err := g.client.Do(req)
	if failed := body.failure(); failed != nil {
		err = errors.Join(failed, err)
	}
	if err != nil {
		if res != nil {
			err = errors.Join(err, res.Body.Close())
		}
		return fmt.Errorf("put %s: %w", key, err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("put %s: %w", key, gcsError(res))
	}
	return nil
}

// failing remembers the error of a body, which the transport may wrap or hide. The
// transport may still read it when the answer is there.
type failing struct {
	ctx context.Context //nolint:containedctx // lives as long as one request
	r   io.Reader
	mu  sync.Mutex
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if ended := f.ctx.Err(); ended != nil {
		err = ended // the last chunk must not follow
	}
	if err != nil && !errors.Is(err, io.EOF) {
		f.mu.Lock()
		f.err = err
		f.mu.Unlock()
	}
	return n, err
}

func (f *failing) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Open implements [blob.Store].
func (g *gcs) Open(ctx context.Context, key string) (blob.Object, error) {
	o, err := g.stat(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", key, err)
	}
	// The object is read for as long as it is open, whatever becomes of the call.
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	return &gcsReader{g: g, ctx: reading, stop: stop, o: o}, nil
}

// gcsReader reads one generation: where the key was put anew since Open, it fails.
type gcsReader struct {
	g    *gcs
	ctx  context.Context //nolint:containedctx // ReaderAt has no room for it; lives until Close
	stop context.CancelFunc
	o    *gcsObject

	mu  sync.Mutex // Read is one at a time
	seq io.ReadCloser
}

func (r *gcsReader) Size() int64 { return r.o.Size }

func (r *gcsReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seq == nil {
		seq, err := r.g.media(r.ctx, r.o, 0, r.o.Size)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", r.o.Name, err)
		}
		r.seq = seq
	}
	return r.seq.Read(p)
}

func (r *gcsReader) ReadAt(p []byte, off int64) (n int, err error) {
	switch {
	case off < 0:
		return 0, fmt.Errorf("read %s: %w", r.o.Name, blob.ErrRange)
	case len(p) == 0:
		return 0, nil
	case off >= r.o.Size:
		return 0, io.EOF
	}
	want := min(int64(len(p)), r.o.Size-off)
	body, err := r.g.media(r.ctx, r.o, off, want)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", r.o.Name, err)
	}
	n, err = io.ReadFull(body, p[:want])
	if closeErr := body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return n, fmt.Errorf("read %s: %w", r.o.Name, err)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r *gcsReader) Close() error {
	defer r.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seq == nil {
		return nil
	}
	return r.seq.Close()
}

// ReadRange implements [blob.Store].
func (g *gcs) ReadRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	o, err := g.stat(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	n, err := blob.CheckRange(o.Size, offset, length)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	body, err := g.media(ctx, o, offset, n)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return body, nil
}

// Stat implements [blob.Store].
func (g *gcs) Stat(ctx context.Context, key string) (blob.Info, error) {
	o, err := g.stat(ctx, key)
	if err != nil {
		return blob.Info{}, fmt.Errorf("stat %s: %w", key, err)
	}
	return o.info(), nil
}

// Delete implements [blob.Store].
func (g *gcs) Delete(ctx context.Context, key string) error {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	res, err := g.do(ctx, http.MethodDelete, g.objectURL(key, nil), nil)
	if err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return res.Body.Close()
}

// List implements [blob.Store].
func (g *gcs) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if err := blob.CheckPrefix(prefix); err != nil {
			yield(blob.Info{}, err)
			return
		}
		q := url.Values{"prefix": {prefix}, "fields": {"nextPageToken,items(" + gcsFields + ")"}}
		for {
			var page struct {
				Next  string      `json:"nextPageToken"`
				Items []gcsObject `json:"items"`
			}
			if err := g.read(ctx, g.host+"/storage/v1/b/"+url.PathEscape(g.bucket)+"/o?"+q.Encode(), &page); err != nil {
				yield(blob.Info{}, fmt.Errorf("list %s: %w", prefix, err))
				return
			}
			for i := range page.Items {
				if !yield(page.Items[i].info(), nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			q.Set("pageToken", page.Next)
		}
	}
}
