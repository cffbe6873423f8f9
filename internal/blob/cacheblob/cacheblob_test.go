package cacheblob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/blob/blobtest"
	"github.com/segue-music/segue/internal/blob/localblob"
)

// origin counts what it is asked, and may be away or give less than it has.
type origin struct {
	blob.Store
	mu           sync.Mutex
	stats, reads int
	away         error
	after        func(r io.ReadCloser) io.ReadCloser // what becomes of an answer
}

func (o *origin) ask(n *int) (func(io.ReadCloser) io.ReadCloser, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	*n++
	return o.after, o.away
}

func (o *origin) Stat(ctx context.Context, key string) (blob.Info, error) {
	if _, err := o.ask(&o.stats); err != nil {
		return blob.Info{}, err
	}
	return o.Store.Stat(ctx, key)
}

func (o *origin) ReadRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	after, err := o.ask(&o.reads)
	if err != nil {
		return nil, err
	}
	r, err := o.Store.ReadRange(ctx, key, offset, length)
	if err == nil && after != nil {
		r = after(r)
	}
	return r, err
}

func (o *origin) set(away error, after func(io.ReadCloser) io.ReadCloser) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away, o.after = away, after
}

func (o *origin) asked() (stats, reads int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	stats, reads = o.stats, o.reads
	o.stats, o.reads = 0, 0
	return stats, reads
}

// world is a cache in front of a counted origin.
type world struct {
	*testing.T
	*Store
	origin *origin
	dir    string
	most   int64
	clock  atomic.Int64 // seconds
	bytes  map[string][]byte
}

func newWorld(t *testing.T, most int64) *world {
	t.Helper()
	local, err := localblob.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = local.Close() })
	w := &world{T: t, origin: &origin{Store: local}, dir: t.TempDir(), most: most, bytes: map[string][]byte{}}
	w.open()
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func (w *world) open() {
	w.Helper()
	var err error
	w.Store, err = Open(w.dir, w.origin, Options{Prefix: "objects/", MaxBytes: w.most, Log: slog.New(slog.NewTextHandler(w.Output(), nil)), Now: w.now})
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) now() time.Time { return time.Unix(1_750_000_000+w.clock.Load(), 0) }

func (w *world) restart() {
	w.Helper()
	if err := w.Close(); err != nil {
		w.Fatal(err)
	}
	w.open()
}

func key(n int) string { return fmt.Sprintf("objects/%032x", n) }

// put makes object n at the origin.
func (w *world) put(n, size int) string {
	w.Helper()
	b := make([]byte, size)
	r := rand.New(rand.NewPCG(uint64(n), 7))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	w.bytes[key(n)] = b
	if err := w.origin.Put(w.Context(), key(n), bytes.NewReader(b), blob.PutOptions{}); err != nil {
		w.Fatal(err)
	}
	return key(n)
}

// readAt reads and compares; an error is returned.
func (w *world) readAt(key string, off, n int) error {
	w.Helper()
	o, err := w.Open(w.Context(), key)
	if err != nil {
		return err
	}
	defer o.Close()
	b := make([]byte, n)
	got, err := o.ReadAt(b, int64(off))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	whole := w.bytes[key]
	want := whole[min(off, len(whole)):min(off+n, len(whole))]
	if !bytes.Equal(b[:got], want) || (got < n) != errors.Is(err, io.EOF) {
		w.Errorf("%s: %d bytes from %d differ: %d read, %v", key, n, off, got, err)
	}
	return nil
}

func (w *world) want(key string, off, n int) {
	w.Helper()
	if err := w.readAt(key, off, n); err != nil {
		w.Errorf("read: %v", err)
	}
	w.running.Wait() // so that what came is kept
}

func (w *world) wantAsked(what string, stats, reads int) {
	w.Helper()
	if s, r := w.origin.asked(); s != stats || r != reads {
		w.Errorf("%s: the origin was asked for %d sizes and %d ranges, want %d and %d", what, s, r, stats, reads)
	}
}

// TestStore_Suite: what is not kept is passed on, and an object that is kept behaves like
// any other.
func TestStore_Suite(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return newWorld(t, 64<<20).Store })
}

func TestStore_Ranges(t *testing.T) {
	w := newWorld(t, 64<<20)
	r := rand.New(rand.NewPCG(1, 2))
	sizes := []int{1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 3*chunkBytes + 5}
	for n, size := range sizes {
		k := w.put(n, size)
		for range 50 {
			off := r.IntN(size + 1)
			w.want(k, off, r.IntN(2*chunkBytes))
		}
		w.want(k, 0, size)
		w.want(k, size, 1)
		got, err := w.ReadRange(t.Context(), k, int64(size/2), -1)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(got); err != nil || !bytes.Equal(b, w.bytes[k][size/2:]) {
			t.Errorf("ReadRange: %d bytes, %v", len(b), err)
		}
		if _, err := w.ReadRange(t.Context(), k, int64(size+1), 1); !errors.Is(err, blob.ErrRange) {
			t.Errorf("past the end: %v", err)
		}
		o, err := w.Open(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(o); err != nil || !bytes.Equal(b, w.bytes[k]) {
			t.Errorf("Read: %d bytes, %v", len(b), err)
		}
	}
	w.wantAsked("everything", len(sizes), 1+1+1+2+4)
	if _, err := w.Open(t.Context(), key(99)); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("unknown object: %v", err)
	}
	if err := w.Delete(t.Context(), key(1)); err != nil {
		t.Error(err)
	}
	if _, err := w.Open(t.Context(), key(1)); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("deleted object: %v", err)
	}
}

// TestStore_Together: a thousand listeners are one request per chunk.
func TestStore_Together(t *testing.T) {
	w := newWorld(t, 64<<20)
	k := w.put(1, 3*chunkBytes)
	gate := make(chan struct{})
	w.origin.set(nil, func(r io.ReadCloser) io.ReadCloser { <-gate; return r })
	var wg sync.WaitGroup
	for n := range 1000 {
		wg.Go(func() {
			if err := w.readAt(k, n%3*chunkBytes, 1000); err != nil {
				t.Error(err)
			}
		})
	}
	close(gate)
	wg.Wait()
	w.running.Wait()
	w.wantAsked("a thousand", 1, 3)
	w.want(k, 0, 3*chunkBytes)
	w.wantAsked("one more", 0, 0)
}

// slow gives what it has in two parts; the second waits.
type slow struct {
	io.ReadCloser
	first int
	gate  chan struct{}
}

func (s *slow) Read(p []byte) (int, error) {
	if s.first == 0 {
		<-s.gate
		return s.ReadCloser.Read(p)
	}
	n, err := s.ReadCloser.Read(p[:min(len(p), s.first)])
	s.first -= n
	return n, err
}

// TestStore_AsItComes: the first sound does not wait for the whole chunk.
func TestStore_AsItComes(t *testing.T) {
	w := newWorld(t, 64<<20)
	k := w.put(1, 2*chunkBytes)
	gate := make(chan struct{})
	w.origin.set(nil, func(r io.ReadCloser) io.ReadCloser { return &slow{r, 5000, gate} })
	if err := w.readAt(k, 0, 5000); err != nil { // hangs where it waits for more
		t.Error(err)
	}
	close(gate)
	w.want(k, 0, 2*chunkBytes)
	w.wantAsked("two chunks", 1, 2)
}

// TestStore_Away: what is here is read on, what is not fails at once and comes later.
func TestStore_Away(t *testing.T) {
	w := newWorld(t, 64<<20)
	hot, cold := w.put(1, 2*chunkBytes), w.put(2, 2*chunkBytes)
	w.want(hot, 0, 2*chunkBytes)
	w.want(cold, 0, 10) // only its head
	away := errors.New("away")
	w.origin.set(away, nil)
	w.want(hot, 0, 2*chunkBytes)
	w.want(cold, 0, 1000)
	for what, err := range map[string]error{"body": w.readAt(cold, chunkBytes, 10), "object": w.readAt(key(3), 0, 10)} {
		if !errors.Is(err, away) {
			t.Errorf("%s that is not here: %v", what, err)
		}
	}
	w.origin.set(nil, nil)
	w.want(cold, chunkBytes, 10)
}

// TestStore_Torn: an answer that breaks off is an error, and nothing of it stays.
func TestStore_Torn(t *testing.T) {
	w := newWorld(t, 64<<20)
	k := w.put(1, 2*chunkBytes)
	w.origin.set(nil, func(r io.ReadCloser) io.ReadCloser {
		return struct {
			io.Reader
			io.Closer
		}{io.LimitReader(r, 1000), r}
	})
	if err := w.readAt(k, 0, 2000); err == nil {
		t.Error("half a chunk was taken for a whole one")
	}
	w.running.Wait()
	w.origin.set(nil, nil)
	w.want(k, 0, 2*chunkBytes)
}

func TestStore_Restart(t *testing.T) {
	w := newWorld(t, 64<<20)
	a, b := w.put(1, 3*chunkBytes), w.put(2, chunkBytes+100)
	w.want(a, 0, 3*chunkBytes)
	w.want(b, 0, chunkBytes+100)
	w.origin.asked()
	w.restart()
	w.want(a, 0, 3*chunkBytes)
	w.want(b, 0, chunkBytes+100)
	w.wantAsked("after a restart", 0, 0)

	// A crash tears files, and somebody leaves others.
	files, err := filepath.Glob(filepath.Join(w.dir, "*", "*"))
	if err != nil || len(files) != 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	flip := func(path string) {
		c, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c[len(c)/2]++
		if err := os.WriteFile(path, c, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flip(files[0])
	if err := errors.Join(os.Truncate(files[1], 10), os.Remove(files[2]),
		os.WriteFile(files[3]+tmpSuffix, []byte("half"), 0o600), os.WriteFile(filepath.Join(w.dir, "note"), []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.want(a, 0, 3*chunkBytes)
	w.want(b, 0, chunkBytes+100)
	if _, reads := w.origin.asked(); reads != 3 {
		t.Errorf("%d chunks came again, want the 3 that were damaged", reads)
	}
	for _, gone := range []string{files[3] + tmpSuffix, filepath.Join(w.dir, "note")} {
		if _, err := os.Stat(gone); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", gone)
		}
	}
	flip(files[4]) // while it runs, and was found good: that is what the seal on each record is for
}

// TestStore_Bound: the disk holds no more than it may, and what is listened to stays.
func TestStore_Bound(t *testing.T) {
	const most = 64 * chunkBytes
	w := newWorld(t, most)
	popular := make([]string, 8)
	for n := range popular {
		popular[n] = w.put(n, 4*chunkBytes)
	}
	for n := range 150 { // each is heard once, whole
		k := w.put(1000+n, 4*chunkBytes)
		for part := range 8 {
			w.want(k, part*chunkBytes/2, chunkBytes/2)
		}
		w.clock.Add(60)
		w.want(popular[n%len(popular)], 0, 100)
		if bytes, _ := w.index.held(); bytes > most {
			t.Fatalf("%d bytes on the disk, bound %d", bytes, most)
		}
	}
	w.origin.asked()
	for _, k := range popular {
		w.want(k, 0, 100)
	}
	w.wantAsked("heads of popular objects", 0, 0)
	for n := range 150 { // nobody hears the popular ones for a while
		w.want(w.put(2000+n, 4*chunkBytes), 0, 4*chunkBytes)
	}
	w.origin.asked()
	for _, k := range popular {
		w.want(k, 0, 100)
	}
	w.wantAsked("heads of popular objects, later", 0, 0)
	files, err := filepath.Glob(filepath.Join(w.dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	if _, chunks := w.index.held(); len(files) != chunks || chunks < 60 {
		t.Errorf("%d files for %d chunks", len(files), chunks)
	}
}

// TestStore_Disk: a disk that takes nothing costs a request of the origin, not the sound.
func TestStore_Disk(t *testing.T) {
	w := newWorld(t, 64<<20)
	k := w.put(1, 2*chunkBytes)
	if err := os.WriteFile(filepath.Join(w.dir, "00"), []byte("no folder"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.want(k, 0, 2*chunkBytes)
	w.want(k, 0, 10)
	if stats, reads := w.origin.asked(); stats != 2 || reads < 3 || reads > 4 {
		t.Errorf("nothing can be kept: the origin was asked for %d sizes and %d ranges", stats, reads)
	}
	if err := os.Remove(filepath.Join(w.dir, "00")); err != nil {
		t.Fatal(err)
	}
	w.want(k, 0, 10)
	w.origin.asked()
	w.want(k, 0, 10)
	w.wantAsked("the disk is back", 0, 0)
}
