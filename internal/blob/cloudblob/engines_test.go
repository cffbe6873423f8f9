//go:build engines

package cloudblob_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/blob/blobtest"
	"github.com/segue-music/segue/internal/blob/cloudblob"
	"github.com/segue-music/segue/internal/testengine"
)

// TestS3 runs everything that needs a real S3 server on one.
func TestS3(t *testing.T) {
	gateway := testengine.S3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", gateway.Key)
	t.Setenv("AWS_SECRET_ACCESS_KEY", gateway.Secret)
	t.Setenv("AWS_SESSION_TOKEN", "")
	b := &buckets{Gateway: gateway, admin: s3.New(s3.Options{
		BaseEndpoint: &gateway.Endpoint, Region: gateway.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(gateway.Key, gateway.Secret, ""),
	})}
	suite(t, b)
	t.Run("refused", func(t *testing.T) { refused(t, b) })
	t.Run("inbox", func(t *testing.T) { inbox(t, b) })
}

// inbox reads what others have put there, under keys of their own taste.
func inbox(t *testing.T, b *buckets) {
	bucket := b.make(t)
	query := url.Values{"endpoint": {b.Endpoint}, "region": {b.Region}, "use_path_style": {"true"}}
	in, err := cloudblob.OpenInbox(t.Context(), "s3://"+bucket+"?"+query.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	want := map[string]string{}
	for _, key := range []string{"in/Some song ö (live) & more.flac", "in/100% + 1.mp3", "in/.hidden", "other/x.ogg"} {
		body := "the sound of " + key
		if _, err := b.admin.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)}); err != nil {
			t.Fatal(err)
		}
		info, err := in.Stat(t.Context(), key)
		if err != nil || info.Key != key || info.Size != int64(len(body)) {
			t.Errorf("stat %q: %+v, %v", key, info, err)
			continue
		}
		o, err := in.Open(t.Context(), key)
		if err != nil {
			t.Errorf("open %q: %v", key, err)
			continue
		}
		if got, err := io.ReadAll(o); err != nil || string(got) != body {
			t.Errorf("read %q: %q, %v", key, got, err)
		}
		_ = o.Close()
		if strings.HasPrefix(key, "in/") {
			want[key] = body
		}
	}
	for o, err := range in.List(t.Context(), "in/") {
		if err != nil {
			t.Fatal(err)
		}
		if want[o.Key] == "" || o.ModTime.IsZero() {
			t.Errorf("listed %+v", o)
		}
		delete(want, o.Key)
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
	if _, err := in.Stat(t.Context(), "in/none"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("unknown key: %v", err)
	}
}

// server gives each subtest a bucket of its own on one server.
type server interface {
	make(t *testing.T) (bucket string)
	open(t *testing.T, bucket string) blob.Store
	// unfinished counts the uploads that were begun and not completed.
	unfinished(t *testing.T, bucket string) int
}

// suite is what every server must do.
func suite(t *testing.T, s server) {
	t.Run("store", func(t *testing.T) {
		blobtest.Run(t, func(t *testing.T) blob.Store { return s.open(t, s.make(t)) })
	})
	t.Run("parts", func(t *testing.T) { parts(t, s) })
	t.Run("pages", func(t *testing.T) { pages(t, s) })
	t.Run("replaced_while_open", func(t *testing.T) { replaced(t, s) })
}

// buckets are those of versitygw.
type buckets struct {
	testengine.Gateway
	admin *s3.Client
	used  int
}

func (b *buckets) make(t *testing.T) string {
	t.Helper()
	b.used++
	name := fmt.Sprintf("bucket-%d", b.used)
	if _, err := b.admin.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	return name
}

func (b *buckets) open(t *testing.T, bucket string) blob.Store {
	t.Helper()
	query := url.Values{"endpoint": {b.Endpoint}, "region": {b.Region}, "use_path_style": {"true"}}
	s, err := cloudblob.Open(t.Context(), "s3://"+bucket+"?"+query.Encode())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (b *buckets) unfinished(t *testing.T, bucket string) int {
	t.Helper()
	left, err := b.admin.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	return len(left.Uploads)
}

// TestGCS_Server runs everything that needs a real server of the JSON API on one.
func TestGCS_Server(t *testing.T) {
	g := testengine.GCS(t)
	t.Setenv("STORAGE_EMULATOR_HOST", g.Endpoint)
	suite(t, &gcsBuckets{CloudStorage: g})
}

// gcsBuckets are those of fake-gcs-server.
type gcsBuckets struct {
	testengine.CloudStorage
	used int
}

func (b *gcsBuckets) make(t *testing.T) string {
	t.Helper()
	b.used++
	name := fmt.Sprintf("bucket-%d", b.used)
	res, err := http.Post(b.Endpoint+"/storage/v1/b?project=test", "application/json", strings.NewReader(fmt.Sprintf(`{"name": %q}`, name)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("make bucket: %s", res.Status)
	}
	return name
}

func (b *gcsBuckets) open(t *testing.T, bucket string) blob.Store {
	t.Helper()
	s, err := cloudblob.Open(t.Context(), "gs://"+bucket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// unfinished: an object goes up in one request, which the server keeps whole or not at all.
func (*gcsBuckets) unfinished(*testing.T, string) int { return 0 }

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b) // never fails
	return b
}

// parts: what is too large for one request goes up in parts, is there as a whole or not
// at all, and leaves no parts that somebody pays for.
func parts(t *testing.T, b server) {
	bucket := b.make(t)
	s, data := b.open(t, bucket), random(18<<20+1)
	broken := errors.New("reader broke")
	half := io.MultiReader(bytes.NewReader(data[:13<<20]), iotest.ErrReader(broken))
	if err := s.Put(t.Context(), "album/disc", half, blob.PutOptions{}); !errors.Is(err, broken) {
		t.Errorf("put that breaks in a later part: %v", err)
	}
	if _, err := s.Stat(t.Context(), "album/disc"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("stat after it: %v", err)
	}
	began := time.Now()
	once := blob.PutOptions{IfAbsent: true, Size: int64(len(data))}
	if err := s.Put(t.Context(), "album/disc", bytes.NewReader(data), once); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes put in %v", len(data), time.Since(began).Round(time.Millisecond))
	if err := s.Put(t.Context(), "album/disc", bytes.NewReader(data), once); !errors.Is(err, blob.ErrExists) {
		t.Errorf("put with IfAbsent again: %v", err)
	}
	r, err := s.ReadRange(t.Context(), "album/disc", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes read back, %v", len(got), err)
	}
	if n := b.unfinished(t, bucket); n > 0 {
		t.Errorf("%d uploads are left unfinished", n)
	}
}

// pages: a list is longer than what a server tells at once.
func pages(t *testing.T, b server) {
	s := b.open(t, b.make(t))
	const n = 1100 // S3 tells 1,000
	eg, ctx := errgroup.WithContext(t.Context())
	eg.SetLimit(8)
	for i := range n {
		eg.Go(func() error {
			return s.Put(ctx, fmt.Sprintf("o/%04d", i), bytes.NewReader(nil), blob.PutOptions{})
		})
	}
	if err := eg.Wait(); err != nil {
		t.Fatal(err)
	}
	i := 0
	for info, err := range s.List(t.Context(), "o/") {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("o/%04d", i); info.Key != want {
			t.Fatalf("object %d is %s, want %s", i, info.Key, want)
		}
		i++
	}
	if i != n {
		t.Errorf("%d objects listed, want %d", i, n)
	}
}

// replaced: an open object never gives bytes of its successor.
func replaced(t *testing.T, b server) {
	s := b.open(t, b.make(t))
	first, second := random(3<<20), bytes.Repeat([]byte{'x'}, 3<<20)
	if err := s.Put(t.Context(), "o", bytes.NewReader(first), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	o, err := s.Open(t.Context(), "o")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = o.Close() }()
	buf := make([]byte, 100)
	if _, err := o.ReadAt(buf, 1<<20); err != nil || !bytes.Equal(buf, first[1<<20:1<<20+100]) {
		t.Fatalf("read before it is replaced: %v", err)
	}
	if err := s.Put(t.Context(), "o", bytes.NewReader(second), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if n, err := o.ReadAt(buf, 1<<20); err == nil {
		t.Errorf("read of a replaced object gives %d bytes: %.8q", n, buf[:n])
	}
	if got, err := io.ReadAll(o); err == nil && !bytes.Equal(got, first) {
		t.Errorf("reading on gives %d bytes of another version", len(got))
	}
}

// refused: a server that will not let us in does not say that there is no such object.
func refused(t *testing.T, b *buckets) {
	bucket := b.make(t)
	if err := b.open(t, bucket).Put(t.Context(), "o", bytes.NewReader(nil), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another")
	s := b.open(t, bucket)
	_, opened := s.Open(t.Context(), "o")
	_, stat := s.Stat(t.Context(), "o")
	for what, err := range map[string]error{
		"open": opened, "stat": stat, "delete": s.Delete(t.Context(), "o"),
		"put": s.Put(t.Context(), "o", bytes.NewReader(nil), blob.PutOptions{IfAbsent: true}),
	} {
		if err == nil || errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrExists) {
			t.Errorf("%s with a wrong secret: %v", what, err)
		}
	}
}
