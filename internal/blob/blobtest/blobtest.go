// Package blobtest checks that an engine keeps the promises of blob.Store. It is
// ordinary code, so that an engine's test is three lines and the suite itself can be
// tested on stores that break a promise.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/segue-music/segue/internal/blob"
)

// Check is one promise; Run returns an error where store breaks it. Each check has keys
// of its own, so that all of them may run on one store.
type Check struct {
	Name string
	Run  func(ctx context.Context, store blob.Store) error
}

// Checks are all promises.
func Checks() []Check {
	return []Check{
		{"put_and_read", putAndRead},
		{"replace", replace},
		{"if_absent", ifAbsent},
		{"if_absent_race", ifAbsentRace},
		{"failed_put_changes_nothing", failedPut},
		{"announced_size", announcedSize},
		{"ranges", ranges},
		{"missing", missing},
		{"delete", deleted},
		{"list", list},
		{"keys", keys},
		{"cancelled", cancelled},
		{"outlives_the_call", outlives},
	}
}

// Run runs every check as a subtest on a store of its own.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	t.Helper()
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Run(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// pattern makes n bytes in which no two places look alike for long.
func pattern(seed, n int) []byte {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

func put(ctx context.Context, s blob.Store, key string, data []byte) error {
	return s.Put(ctx, key, bytes.NewReader(data), blob.PutOptions{Size: int64(len(data))})
}

func wantBytes(ctx context.Context, s blob.Store, key string, want []byte) (err error) {
	o, err := s.Open(ctx, key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	if o.Size() != int64(len(want)) {
		return fmt.Errorf("size of %s is %d, want %d", key, o.Size(), len(want))
	}
	got, err := io.ReadAll(o)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s reads back %d bytes that differ from the %d put", key, len(got), len(want))
	}
	info, err := s.Stat(ctx, key)
	if err != nil {
		return err
	}
	if info.Size != int64(len(want)) || info.Key != key || info.ModTime.IsZero() {
		return fmt.Errorf("stat of %s is %+v, want %d bytes", key, info, len(want))
	}
	return nil
}

func wantErr(what string, got, want error) error {
	if !errors.Is(got, want) {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}

func putAndRead(ctx context.Context, s blob.Store) error {
	for i, n := range []int{0, 1, 4096, 1<<20 + 7} {
		key, data := fmt.Sprintf("put/%d/o", n), pattern(i+1, n)
		if err := put(ctx, s, key, data); err != nil {
			return err
		}
		if err := wantBytes(ctx, s, key, data); err != nil {
			return err
		}
	}
	return nil
}

func replace(ctx context.Context, s blob.Store) error {
	for i, n := range []int{5000, 40, 9000} {
		data := pattern(i+1, n)
		if err := put(ctx, s, "replace/o", data); err != nil {
			return err
		}
		if err := wantBytes(ctx, s, "replace/o", data); err != nil {
			return err
		}
	}
	return nil
}

func ifAbsent(ctx context.Context, s blob.Store) error {
	first := pattern(1, 100)
	opt := blob.PutOptions{IfAbsent: true}
	if err := s.Put(ctx, "absent/o", bytes.NewReader(first), opt); err != nil {
		return err
	}
	err := s.Put(ctx, "absent/o", bytes.NewReader(pattern(2, 100)), opt)
	if err := wantErr("second put with IfAbsent", err, blob.ErrExists); err != nil {
		return err
	}
	return wantBytes(ctx, s, "absent/o", first)
}

func ifAbsentRace(ctx context.Context, s blob.Store) error {
	const n = 8
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			errs[i] = s.Put(ctx, "race/o", bytes.NewReader(pattern(i+1, 3000)), blob.PutOptions{IfAbsent: true})
		})
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			return fmt.Errorf("puts %d and %d with IfAbsent both succeeded", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, blob.ErrExists):
			return fmt.Errorf("put %d: %w", i, err)
		}
	}
	if winner < 0 {
		return errors.New("no put with IfAbsent succeeded")
	}
	return wantBytes(ctx, s, "race/o", pattern(winner+1, 3000))
}

var errBroken = errors.New("reader broke")

func failedPut(ctx context.Context, s blob.Store) error {
	broken := func() io.Reader {
		return io.MultiReader(bytes.NewReader(pattern(3, 70_000)), iotest.ErrReader(errBroken))
	}
	if err := wantErr("put from a broken reader", s.Put(ctx, "fail/new", broken(), blob.PutOptions{}), errBroken); err != nil {
		return err
	}
	_, err := s.Stat(ctx, "fail/new")
	if err := wantErr("stat after a failed put", err, blob.ErrNotFound); err != nil {
		return err
	}
	old := pattern(4, 500)
	if err := put(ctx, s, "fail/old", old); err != nil {
		return err
	}
	if err := wantErr("put from a broken reader", s.Put(ctx, "fail/old", broken(), blob.PutOptions{}), errBroken); err != nil {
		return err
	}
	return wantBytes(ctx, s, "fail/old", old)
}

func announcedSize(ctx context.Context, s blob.Store) error {
	for _, size := range []int64{99, 101} {
		err := s.Put(ctx, "size/o", bytes.NewReader(pattern(5, 100)), blob.PutOptions{Size: size})
		if err := wantErr(fmt.Sprintf("100 bytes announced as %d", size), err, blob.ErrSize); err != nil {
			return err
		}
		_, err = s.Stat(ctx, "size/o")
		if err := wantErr("stat after a put of the wrong size", err, blob.ErrNotFound); err != nil {
			return err
		}
	}
	return nil
}

func ranges(ctx context.Context, s blob.Store) (err error) {
	data := pattern(6, 10_000)
	if err := put(ctx, s, "range/o", data); err != nil {
		return err
	}
	for _, c := range []struct{ off, length, end int64 }{
		{0, 10, 10}, {9_990, 10, 10_000}, {9_990, 100, 10_000}, {5_000, -1, 10_000}, {10_000, 5, 10_000}, {3, 0, 3},
	} {
		r, err := s.ReadRange(ctx, "range/o", c.off, c.length)
		if err != nil {
			return fmt.Errorf("range %d+%d: %w", c.off, c.length, err)
		}
		got, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("range %d+%d: %w", c.off, c.length, err)
		}
		if !bytes.Equal(got, data[c.off:c.end]) {
			return fmt.Errorf("range %d+%d gives %d wrong bytes", c.off, c.length, len(got))
		}
	}
	for _, off := range []int64{-1, 10_001} {
		_, err := s.ReadRange(ctx, "range/o", off, 1)
		if err := wantErr(fmt.Sprintf("range from %d", off), err, blob.ErrRange); err != nil {
			return err
		}
	}
	o, err := s.Open(ctx, "range/o")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	return readAts(o, data)
}

func readAts(o blob.Object, data []byte) error {
	buf := make([]byte, 64)
	for _, off := range []int64{9_000, 17, 0} {
		if n, err := o.ReadAt(buf, off); err != nil || !bytes.Equal(buf[:n], data[off:off+64]) {
			return fmt.Errorf("read at %d: %d bytes, %w", off, n, err)
		}
	}
	n, err := o.ReadAt(buf, 9_990)
	// By ==, as package io compares it.
	if n != 10 || err != io.EOF || !bytes.Equal(buf[:n], data[9_990:]) { //nolint:errorlint // the contract of io.ReaderAt
		return fmt.Errorf("read at the end: %d bytes, error %v, want 10 and EOF", n, err)
	}
	return nil
}

func missing(ctx context.Context, s blob.Store) error {
	_, open := s.Open(ctx, "missing/o")
	_, stat := s.Stat(ctx, "missing/o")
	_, read := s.ReadRange(ctx, "missing/o", 0, 1)
	return errors.Join(
		wantErr("open", open, blob.ErrNotFound), wantErr("stat", stat, blob.ErrNotFound),
		wantErr("read range", read, blob.ErrNotFound), wantErr("delete", s.Delete(ctx, "missing/o"), blob.ErrNotFound))
}

func deleted(ctx context.Context, s blob.Store) error {
	if err := errors.Join(put(ctx, s, "del/a", pattern(7, 10)), put(ctx, s, "del/b", pattern(8, 10))); err != nil {
		return err
	}
	if err := s.Delete(ctx, "del/a"); err != nil {
		return err
	}
	_, err := s.Open(ctx, "del/a")
	if err := wantErr("open after delete", err, blob.ErrNotFound); err != nil {
		return err
	}
	return wantBytes(ctx, s, "del/b", pattern(8, 10))
}

func list(ctx context.Context, s blob.Store) error {
	// "list/b-" sorts before "list/b/x", though the name "b" sorts before "b-".
	all := []string{"list/a", "list/b-", "list/b/x", "list/b/y", "list/bc", "list/z/1/2"}
	for i, k := range slices.Backward(all) {
		if err := put(ctx, s, k, pattern(i+1, i+1)); err != nil {
			return err
		}
	}
	for prefix, want := range map[string][]string{
		"list/": all, "list/b": all[1:5], "list/b/": all[2:4], "list/z/1": all[5:], "list/none": nil,
	} {
		var got []string
		for info, err := range s.List(ctx, prefix) {
			if err != nil {
				return err
			}
			if i := slices.Index(all, info.Key); info.Size != int64(i+1) {
				return fmt.Errorf("list tells %d bytes of %s", info.Size, info.Key)
			}
			got = append(got, info.Key)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("list of %q is %q, want %q", prefix, got, want)
		}
	}
	for _, err := range s.List(ctx, "list/") {
		if err != nil {
			return err
		}
		break // an iterator that goes on after this panics
	}
	return nil
}

func keys(ctx context.Context, s blob.Store) error {
	bad := []string{"", "/etc/passwd", "../up", "a/../b", "a//b", "a/", "a/.", ".hidden", "a\x00b", "a\nb", `a\b`, "é", "a b",
		strings.Repeat("x", 201), strings.Repeat("abcdefgh/", 200) + "x"}
	for _, k := range bad {
		_, open := s.Open(ctx, k)
		_, stat := s.Stat(ctx, k)
		_, read := s.ReadRange(ctx, k, 0, 1)
		for _, err := range []error{put(ctx, s, k, []byte("x")), open, stat, read, s.Delete(ctx, k)} {
			if err := wantErr(fmt.Sprintf("key %.40q", k), err, blob.ErrKey); err != nil {
				return err
			}
		}
	}
	good := strings.Repeat("x", 200) + "/A-_.=+@,9"
	if err := put(ctx, s, good, []byte("x")); err != nil {
		return err
	}
	return wantBytes(ctx, s, good, []byte("x"))
}

func cancelled(ctx context.Context, s blob.Store) error {
	ctx2, cancel := context.WithCancel(ctx)
	r := io.MultiReader(bytes.NewReader(pattern(9, 1000)), funcReader(func([]byte) (int, error) {
		cancel()
		return 0, io.EOF
	}))
	if err := wantErr("cancelled put", s.Put(ctx2, "cancel/o", r, blob.PutOptions{}), context.Canceled); err != nil {
		return err
	}
	_, err := s.Stat(ctx, "cancel/o")
	return wantErr("stat after a cancelled put", err, blob.ErrNotFound)
}

type funcReader func([]byte) (int, error)

func (f funcReader) Read(p []byte) (int, error) { return f(p) }

// outlives reads an object after the call that opened it is over, as a cache does.
func outlives(ctx context.Context, s blob.Store) error {
	want := pattern(11, 100_000)
	if err := s.Put(ctx, "outlives/o", bytes.NewReader(want), blob.PutOptions{}); err != nil {
		return err
	}
	call, cancel := context.WithCancel(ctx)
	o, err := s.Open(call, "outlives/o")
	if err != nil {
		cancel()
		return err
	}
	cancel()
	got := make([]byte, 50_000)
	if _, err := o.ReadAt(got, 25_000); err != nil && !errors.Is(err, io.EOF) {
		return errors.Join(fmt.Errorf("read at an offset after the call: %w", err), o.Close())
	}
	if !bytes.Equal(got, want[25_000:75_000]) {
		return errors.Join(errors.New("an offset reads as something else after the call"), o.Close())
	}
	all, err := io.ReadAll(o)
	if err == nil && !bytes.Equal(all, want) {
		err = errors.New("the object reads as something else after the call")
	}
	return errors.Join(err, o.Close())
}
