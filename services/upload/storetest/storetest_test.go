package storetest_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/segue-music/segue/services/upload"
	"github.com/segue-music/segue/services/upload/sqlite"
	"github.com/segue-music/segue/services/upload/storetest"
)

// counter is a T that counts; Fatal ends the check by a panic.
type counter struct {
	*testing.T
	mu     sync.Mutex
	failed []string
}

type ended struct{}

func (c *counter) note(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = append(c.failed, s)
}

func (c *counter) Helper()                   {}
func (c *counter) Error(args ...any)         { c.note(fmt.Sprint(args...)) }
func (c *counter) Errorf(f string, a ...any) { c.note(fmt.Sprintf(f, a...)) }
func (c *counter) Fatal(args ...any)         { c.note(fmt.Sprint(args...)); panic(ended{}) }
func (c *counter) Fatalf(f string, a ...any) { c.note(fmt.Sprintf(f, a...)); panic(ended{}) }

func (c *counter) run(check storetest.Check, s upload.Store) {
	defer func() {
		if v := recover(); v != nil {
			if _, ok := v.(ended); !ok {
				c.note(fmt.Sprint("panic: ", v))
			}
		}
	}()
	check.Run(c, s)
}

// broken passes everything on but for what a test replaces.
type broken struct {
	upload.Store
	save   func(context.Context, upload.Change) error
	create func(context.Context, upload.Creation) error
	claim  func(context.Context, upload.Lane, time.Time, time.Duration, int) ([]upload.Upload, error)
	list   func(context.Context, upload.Query) (upload.Page, error)
}

func (b broken) Save(ctx context.Context, c upload.Change) error {
	if b.save != nil {
		return b.save(ctx, c)
	}
	return b.Store.Save(ctx, c)
}

func (b broken) Create(ctx context.Context, c upload.Creation) error {
	if b.create != nil {
		return b.create(ctx, c)
	}
	return b.Store.Create(ctx, c)
}

func (b broken) Claim(ctx context.Context, l upload.Lane, now time.Time, d time.Duration, n int) ([]upload.Upload, error) {
	if b.claim != nil {
		return b.claim(ctx, l, now, d, n)
	}
	return b.Store.Claim(ctx, l, now, d, n)
}

func (b broken) List(ctx context.Context, q upload.Query) (upload.Page, error) {
	if b.list != nil {
		return b.list(ctx, q)
	}
	return b.Store.List(ctx, q)
}

func TestChecks_FailOn(t *testing.T) {
	for name, wrap := range map[string]func(upload.Store) upload.Store{
		"drop_saves": func(s upload.Store) upload.Store {
			return broken{Store: s, save: func(context.Context, upload.Change) error { return nil }}
		},
		"drop_creations": func(s upload.Store) upload.Store {
			return broken{Store: s, create: func(context.Context, upload.Creation) error { return nil }}
		},
		"double_saves": func(s upload.Store) upload.Store {
			return broken{Store: s, save: func(ctx context.Context, c upload.Change) error {
				if err := s.Save(ctx, c); err != nil {
					return err
				}
				c.Upload.Revision, c.Lease = c.Upload.Revision+1, ""
				return s.Save(ctx, c)
			}}
		},
		"torn_saves": func(s upload.Store) upload.Store { // the upload without its objects and prints
			return broken{Store: s, save: func(ctx context.Context, c upload.Change) error {
				c.Objects, c.Print, c.Watched = nil, nil, nil
				return s.Save(ctx, c)
			}}
		},
		"torn_creations": func(s upload.Store) upload.Store { // one by one
			return broken{Store: s, create: func(ctx context.Context, c upload.Creation) error {
				for _, u := range c.Uploads {
					part := c
					part.Uploads = []upload.Upload{u}
					if err := s.Create(ctx, part); err != nil {
						return err
					}
				}
				return nil
			}}
		},
		"last_writer_wins": func(s upload.Store) upload.Store {
			return broken{Store: s, save: func(ctx context.Context, c upload.Change) error {
				now, err := s.Get(ctx, c.Upload.ID)
				if err != nil {
					return err
				}
				c.Upload.Revision = now.Revision
				return s.Save(ctx, c)
			}}
		},
		"leases_are_not_checked": func(s upload.Store) upload.Store {
			return broken{Store: s, save: func(ctx context.Context, c upload.Change) error {
				c.EndLease = c.EndLease || c.Lease != "" && !c.KeepLease
				c.Lease = ""
				return s.Save(ctx, c)
			}}
		},
		"bounds_are_not_checked": func(s upload.Store) upload.Store {
			return broken{Store: s, create: func(ctx context.Context, c upload.Creation) error {
				c.Bounds = upload.Bounds{}
				return s.Create(ctx, c)
			}}
		},
		"reordered_claims": func(s upload.Store) upload.Store {
			return broken{Store: s, claim: func(ctx context.Context, l upload.Lane, now time.Time, d time.Duration, n int) ([]upload.Upload, error) {
				us, err := s.Claim(ctx, l, now, d, n)
				slices.Reverse(us)
				return us, err
			}}
		},
		"double_claims": func(s upload.Store) upload.Store {
			return broken{Store: s, claim: func(ctx context.Context, l upload.Lane, now time.Time, _ time.Duration, n int) ([]upload.Upload, error) {
				return s.Claim(ctx, l, now, 0, n)
			}}
		},
		"reordered_lists": func(s upload.Store) upload.Store {
			return broken{Store: s, list: func(ctx context.Context, q upload.Query) (upload.Page, error) {
				p, err := s.List(ctx, q)
				slices.Reverse(p.Uploads)
				return p, err
			}}
		},
		"lists_of_everyone": func(s upload.Store) upload.Store {
			return broken{Store: s, list: func(ctx context.Context, q upload.Query) (upload.Page, error) {
				q.OwnerID = ""
				return s.List(ctx, q)
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &counter{T: t}
			for _, check := range storetest.Checks() {
				if name == "double_claims" && check.Name == "ClaimConcurrent" {
					continue // it would not come to an end
				}
				s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "u.db"), sqlite.Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				c.run(check, wrap(s))
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			if len(c.failed) == 0 {
				t.Error("every check passes on a store that breaks its promises")
			}
		})
	}
}
