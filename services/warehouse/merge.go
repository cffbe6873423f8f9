package warehouse

import (
	"context"
	"iter"
	"time"
)

// source yields rows by time. It is not opened before its turn comes.
type source struct {
	oldest time.Time // no row is older
	row    *Row      // the next one; nil before the first and after the last
	next   func() (*Row, error, bool)
	stop   func()
	open   func() (func() (*Row, error, bool), func())
}

// fromFile reads a file's rows from an offset on.
func fromFile(ctx context.Context, store Store, file File, from int64, f *filter) *source {
	return &source{oldest: file.Oldest, open: func() (func() (*Row, error, bool), func()) {
		return iter.Pull2(func(yield func(*Row, error) bool) {
			for row, err := range store.Rows(ctx, file, f.hint) {
				if err == nil && (row.Offset < from || !f.matches(&row)) {
					continue
				}
				if !yield(&row, err) {
					return
				}
			}
		})
	}}
}

// advance moves to the next row; row is nil when there is none.
func (s *source) advance(ctx context.Context, _ *filter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.next == nil {
		s.next, s.stop = s.open()
	}
	row, err, ok := s.next()
	if err != nil {
		return err
	}
	if s.row = row; !ok {
		s.row = nil
		s.stop()
	}
	return nil
}

// merge is a heap of sources by their next row. A source that was not begun stands
// where its oldest row could.
type merge struct{ sources []*source }

func (m *merge) add(s *source) { m.sources = append(m.sources, s) }

func (m *merge) stop() {
	for _, s := range m.sources {
		if s.stop != nil {
			s.stop()
		}
	}
}

func (m *merge) Len() int      { return len(m.sources) }
func (m *merge) Swap(i, j int) { m.sources[i], m.sources[j] = m.sources[j], m.sources[i] }
func (m *merge) Push(x any)    { s, _ := x.(*source); m.sources = append(m.sources, s) }

func (m *merge) Pop() any {
	last := m.sources[len(m.sources)-1]
	m.sources = m.sources[:len(m.sources)-1]
	return last
}

func (m *merge) Less(i, j int) bool {
	a, b := m.sources[i], m.sources[j]
	switch {
	case a.row != nil && b.row != nil:
		return compareRows(a.row, b.row) < 0
	case a.row == nil && b.row == nil:
		return a.oldest.Before(b.oldest)
	case a.row == nil:
		return !a.oldest.After(b.row.Time())
	default:
		return a.row.Time().Before(b.oldest)
	}
}
