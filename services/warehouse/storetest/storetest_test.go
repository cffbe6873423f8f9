package storetest_test

import (
	"context"
	"iter"
	"slices"
	"testing"
	"time"

	"gocloud.dev/blob/memblob"

	"github.com/segue-music/segue/internal/blob/cloudblob"
	"github.com/segue-music/segue/services/warehouse"
	"github.com/segue-music/segue/services/warehouse/lake"
	"github.com/segue-music/segue/services/warehouse/storetest"
)

// writing changes what is written; no rows write nothing.
type writing struct {
	warehouse.Store
	change func([]warehouse.Row) []warehouse.Row
}

func (w writing) Write(ctx context.Context, first int64, rows []warehouse.Row) (warehouse.File, error) {
	changed := w.change(slices.Clone(rows))
	if len(changed) == 0 && len(rows) > 0 {
		return warehouse.File{Topic: rows[0].Topic, First: first, Next: rows[len(rows)-1].Offset + 1}, nil
	}
	return w.Store.Write(ctx, first, changed)
}

// reading changes what is read.
type reading struct {
	warehouse.Store
	change func([]warehouse.Row) []warehouse.Row
}

func (r reading) Rows(ctx context.Context, f warehouse.File, hint warehouse.Hint) iter.Seq2[warehouse.Row, error] {
	return func(yield func(warehouse.Row, error) bool) {
		var all []warehouse.Row
		for row, err := range r.Store.Rows(ctx, f, hint) {
			if err != nil {
				yield(row, err)
				return
			}
			all = append(all, row)
		}
		for _, row := range r.change(all) {
			if !yield(row, nil) {
				return
			}
		}
	}
}

// listing changes the list of files.
type listing struct {
	warehouse.Store
	change func([]warehouse.File) []warehouse.File
}

func (l listing) Files(ctx context.Context) ([]warehouse.File, error) {
	files, err := l.Store.Files(ctx)
	return l.change(slices.Clone(files)), err
}

// boasting says that a file ends where the caller's rows do.
type boasting struct{ warehouse.Store }

func (b boasting) Write(ctx context.Context, first int64, rows []warehouse.Row) (warehouse.File, error) {
	f, err := b.Store.Write(ctx, first, rows)
	if err == nil {
		f.Next = rows[len(rows)-1].Offset + 1
	}
	return f, err
}

// lazy only says that it compacts.
type lazy struct{ warehouse.Store }

func (lazy) Compact(context.Context, func(string, time.Time) bool) (int, error) { return 1, nil }

// eager compacts hours that are not over.
type eager struct{ warehouse.Store }

func (e eager) Compact(ctx context.Context, closed func(string, time.Time) bool) (int, error) {
	return e.Store.Compact(ctx, func(topic string, hour time.Time) bool { closed(topic, hour); return true })
}

// keeping lists what was replaced beside what replaces it.
type keeping struct {
	warehouse.Store
	old []warehouse.File
}

func (k *keeping) Compact(ctx context.Context, closed func(string, time.Time) bool) (int, error) {
	k.old, _ = k.Store.Files(ctx)
	return k.Store.Compact(ctx, closed)
}

func (k *keeping) Files(ctx context.Context) ([]warehouse.File, error) {
	files, err := k.Store.Files(ctx)
	return append(slices.Clone(files), k.old...), err
}

// hinting believes a hint too much.
type hinting struct{ warehouse.Store }

func (h hinting) Rows(ctx context.Context, f warehouse.File, hint warehouse.Hint) iter.Seq2[warehouse.Row, error] {
	if hint.UserID != "" {
		f.Name = "topic=none"
		return func(func(warehouse.Row, error) bool) {}
	}
	return h.Store.Rows(ctx, f, hint)
}

func TestChecks_FailOn(t *testing.T) {
	for name, wrap := range map[string]func(warehouse.Store) warehouse.Store{
		"drop_file": func(s warehouse.Store) warehouse.Store {
			return writing{s, func([]warehouse.Row) []warehouse.Row { return nil }}
		},
		"drop_row": func(s warehouse.Store) warehouse.Store {
			return writing{s, func(r []warehouse.Row) []warehouse.Row { return r[min(1, len(r)):] }}
		},
		"tear": func(s warehouse.Store) warehouse.Store {
			return writing{s, func(r []warehouse.Row) []warehouse.Row { return r[:len(r)-len(r)/2] }}
		},
		"reorder": func(s warehouse.Store) warehouse.Store {
			return reading{s, func(r []warehouse.Row) []warehouse.Row { slices.Reverse(r); return r }}
		},
		"double": func(s warehouse.Store) warehouse.Store {
			return reading{s, func(r []warehouse.Row) []warehouse.Row { return append(r, r...) }}
		},
		"round_time": func(s warehouse.Store) warehouse.Store {
			return reading{s, func(r []warehouse.Row) []warehouse.Row {
				for i := range r {
					if t := r[i].Envelope.GetTime(); t != nil {
						t.Nanos -= t.Nanos % 1000
					}
				}
				return r
			}}
		},
		"forget_file": func(s warehouse.Store) warehouse.Store {
			return listing{s, func(f []warehouse.File) []warehouse.File { return f[min(1, len(f)):] }}
		},
		"double_file": func(s warehouse.Store) warehouse.Store {
			return listing{s, func(f []warehouse.File) []warehouse.File { return append(f, f...) }}
		},
		"not_compacting": func(s warehouse.Store) warehouse.Store { return lazy{s} },
		"keeps_replaced": func(s warehouse.Store) warehouse.Store { return &keeping{Store: s} },
		"any_hour":       func(s warehouse.Store) warehouse.Store { return eager{s} },
		"own_end":        func(s warehouse.Store) warehouse.Store { return boasting{s} },
		"trust_hint":     func(s warehouse.Store) warehouse.Store { return hinting{s} },
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range storetest.Checks() {
				b := cloudblob.New(memblob.OpenBucket(nil))
				err := c.Run(t.Context(), func() warehouse.Store {
					s, err := lake.Open(t.Context(), b, lake.Options{})
					if err != nil {
						t.Fatal(err)
					}
					return wrap(s)
				})
				if cerr := b.Close(); cerr != nil {
					t.Error(cerr)
				}
				if err != nil {
					return
				}
			}
			t.Error("every check passes on a store that breaks its promises")
		})
	}
}
