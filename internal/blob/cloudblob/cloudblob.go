// Package cloudblob keeps objects in a bucket: s3://name?region=… by gocloud.dev, or
// gs://name by Google's JSON API. It is the only package that imports the clouds' drivers.
package cloudblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	gc "gocloud.dev/blob"
	_ "gocloud.dev/blob/s3blob" // registers s3://
	"gocloud.dev/gcerrors"

	"github.com/segue-music/segue/internal/blob"
)

// Bucket is an open bucket.
type Bucket interface {
	blob.Store
	io.Closer
}

// Store is a [blob.Store] on a bucket of gocloud.dev.
type Store struct {
	bucket *gc.Bucket
	anyKey bool
}

var _ blob.Store = (*Store)(nil)

// Open opens the bucket of an s3:// or gs:// URL; the query is that of the gocloud.dev
// driver, or anonymous=true for a public bucket of gs. Credentials come from the cloud's
// own environment.
func Open(ctx context.Context, bucketURL string) (Bucket, error) {
	u, err := url.Parse(bucketURL)
	if err != nil {
		return nil, errors.New("bucket URL is malformed") // url.Error would repeat what may hold a secret
	}
	if u.Scheme != "s3" && u.Scheme != "gs" {
		return nil, fmt.Errorf("bucket scheme %q is not s3 or gs", u.Scheme)
	}
	if u.Scheme == "gs" {
		g, err := openGCS(ctx, u)
		if err != nil {
			return nil, fmt.Errorf("open bucket gs://%s: %w", u.Host, err)
		}
		return g, nil
	}
	b, err := gc.OpenBucket(ctx, bucketURL)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s://%s: %w", u.Scheme, u.Host, err)
	}
	return New(b), nil
}

// New makes a store of an open bucket, which it then owns.
func New(b *gc.Bucket) *Store { return &Store{bucket: b} }

// OpenInbox opens the bucket of an s3:// URL into which others put objects: their keys may
// be any.
func OpenInbox(ctx context.Context, bucketURL string) (*Store, error) {
	u, err := url.Parse(bucketURL)
	if err != nil || u.Scheme != "s3" || u.Host == "" {
		return nil, errors.New("bucket URL is not s3://name")
	}
	b, err := gc.OpenBucket(ctx, bucketURL)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s://%s: %w", u.Scheme, u.Host, err)
	}
	return NewInbox(b), nil
}

// NewInbox is New for objects of others.
func NewInbox(b *gc.Bucket) *Store { return &Store{bucket: b, anyKey: true} }

// check refuses a key that is not one of ours.
func (s *Store) check(key string) error {
	if s.anyKey {
		return nil
	}
	return blob.CheckKey(key)
}

// Close closes the bucket.
func (s *Store) Close() error { return s.bucket.Close() }

func mapError(err error) error {
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		return fmt.Errorf("%w: %w", blob.ErrNotFound, err)
	case gcerrors.FailedPrecondition:
		return fmt.Errorf("%w: %w", blob.ErrExists, err)
	default:
		return err
	}
}

// Put implements [blob.Store].
func (s *Store) Put(ctx context.Context, key string, r io.Reader, opt blob.PutOptions) error {
	if err := s.check(key); err != nil {
		return err
	}
	// Cancelling before Close is how gocloud.dev abandons an upload.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.bucket.NewWriter(ctx, key, &gc.WriterOptions{
		ContentType: "application/octet-stream", IfNotExist: opt.IfAbsent,
	})
	if err != nil {
		return fmt.Errorf("put %s: %w", key, mapError(err))
	}
	_, err = io.Copy(w, blob.SizedReader(r, opt.Size))
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		_ = w.Close() // says only that it was cancelled
		return fmt.Errorf("put %s: %w", key, mapError(err))
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("put %s: %w", key, mapError(err))
	}
	return nil
}

// version tells two generations of one key apart.
type version struct {
	tag  string
	size int64
}

func versionOf(r *gc.Reader) version {
	v := version{size: r.Size(), tag: r.ModTime().UTC().String()}
	var s3out s3.GetObjectOutput
	if r.As(&s3out) && s3out.ETag != nil {
		v.tag = *s3out.ETag
	}
	return v
}

// object reads forward on one connection and at offsets on one connection each.
type object struct {
	store *Store
	ctx   context.Context //nolint:containedctx // ReaderAt has no room for it; lives until Close
	stop  context.CancelFunc
	key   string
	ver   version

	mu  sync.Mutex // Read is one at a time
	seq *gc.Reader
}

// Open implements [blob.Store].
func (s *Store) Open(ctx context.Context, key string) (blob.Object, error) {
	if err := s.check(key); err != nil {
		return nil, err
	}
	// The object is read for as long as it is open, whatever becomes of the call.
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(ctx, stop)
	r, err := s.bucket.NewReader(reading, key, nil)
	if err == nil && !unhook() {
		err = errors.Join(ctx.Err(), r.Close())
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("open %s: %w", key, mapError(err))
	}
	return &object{store: s, ctx: reading, stop: stop, key: key, ver: versionOf(r), seq: r}, nil
}

func (o *object) Size() int64 { return o.ver.size }

func (o *object) Read(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seq.Read(p)
}

// ReadAt fails where the key was put anew since Open.
func (o *object) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s: %w", o.key, blob.ErrRange)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if off >= o.ver.size {
		return 0, io.EOF
	}
	want := min(int64(len(p)), o.ver.size-off)
	r, err := o.store.bucket.NewRangeReader(o.ctx, o.key, off, want, nil)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", o.key, mapError(err))
	}
	defer func() {
		// Joined only where there is something to join: readers compare io.EOF by ==.
		if closeErr := r.Close(); closeErr != nil {
			err = errors.Join(err, closeErr)
		}
	}()
	if versionOf(r) != o.ver {
		return 0, fmt.Errorf("read %s: object was replaced: %w", o.key, blob.ErrNotFound)
	}
	n, err = io.ReadFull(r, p[:want])
	if err != nil {
		return n, fmt.Errorf("read %s: %w", o.key, err)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (o *object) Close() error {
	defer o.stop()
	return o.seq.Close()
}

// ReadRange implements [blob.Store].
func (s *Store) ReadRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := s.check(key); err != nil {
		return nil, err
	}
	info, err := s.Stat(ctx, key)
	if err != nil {
		return nil, err
	}
	n, err := blob.CheckRange(info.Size, offset, length)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if n == 0 {
		return http.NoBody, nil // S3 refuses a range from the end with 416
	}
	r, err := s.bucket.NewRangeReader(ctx, key, offset, n, nil)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, mapError(err))
	}
	return r, nil
}

// Stat implements [blob.Store].
func (s *Store) Stat(ctx context.Context, key string) (blob.Info, error) {
	if err := s.check(key); err != nil {
		return blob.Info{}, err
	}
	a, err := s.bucket.Attributes(ctx, key)
	if err != nil {
		return blob.Info{}, fmt.Errorf("stat %s: %w", key, mapError(err))
	}
	return blob.Info{Key: key, Size: a.Size, ModTime: a.ModTime.UTC()}, nil
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.check(key); err != nil {
		return err
	}
	if err := s.bucket.Delete(ctx, key); err != nil {
		return fmt.Errorf("delete %s: %w", key, mapError(err))
	}
	return nil
}

// List implements [blob.Store].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if err := blob.CheckPrefix(prefix); err != nil && !s.anyKey {
			yield(blob.Info{}, err)
			return
		}
		it := s.bucket.List(&gc.ListOptions{Prefix: prefix})
		for {
			o, err := it.Next(ctx)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(blob.Info{}, fmt.Errorf("list %s: %w", prefix, mapError(err)))
				return
			}
			if !yield(blob.Info{Key: o.Key, Size: o.Size, ModTime: o.ModTime.UTC()}, nil) {
				return
			}
		}
	}
}
