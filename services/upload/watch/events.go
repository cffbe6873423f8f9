package watch

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// gather is how long events are collected before a folder is looked through.
const gather = 500 * time.Millisecond

// Run calls scan with the whole folder (".") at once, after every event, with the folder
// that it was in, and every Rescan. scan returns whether files have not settled, which
// are looked for again soon, and reports every folder to entered. Events only make it
// quicker: whatever they miss, the rescan finds. It returns when ctx ends, or with
// scan's error.
func (f *Folder) Run(ctx context.Context, scan func(ctx context.Context, dir string, entered func(string)) (unsettled bool, err error)) error {
	events, err := fsnotify.NewWatcher()
	if err != nil {
		f.opt.Log.WarnContext(ctx, "no file events, only rescans", "err", err)
		events = &fsnotify.Watcher{}
	} else {
		defer events.Close()
	}
	full := false
	entered := func(dir string) {
		if events.Events == nil || full {
			return
		}
		if err := events.Add(filepath.Join(f.dir, filepath.FromSlash(dir))); err != nil {
			full = true // most likely the system's bound on watches
			f.opt.Log.WarnContext(ctx, "no events from some folders, only rescans", "err", err)
		}
	}
	l := &loop{f: f, dirty: map[string]bool{".": true}}
	for {
		if err := l.scanDirty(ctx, scan, entered); err != nil {
			return err
		}
		if err := l.wait(ctx, events); err != nil {
			return err
		}
	}
}

// loop is the state between two scans.
type loop struct {
	f     *Folder
	dirty map[string]bool // folders to be looked through
	later map[string]bool // those with files that have not settled
	last  time.Time       // the last full scan
}

func (l *loop) scanDirty(ctx context.Context, scan func(context.Context, string, func(string)) (bool, error), entered func(string)) error {
	dirs := l.dirty
	if dirs["."] {
		dirs, l.last = map[string]bool{".": true}, l.f.opt.Now()
	}
	l.dirty, l.later = map[string]bool{}, map[string]bool{}
	for dir := range dirs {
		unsettled, err := scan(ctx, dir, entered)
		if err != nil {
			return err
		}
		if unsettled {
			l.later[dir] = true
		}
	}
	return ctx.Err()
}

// wait returns when there is something to look through.
func (l *loop) wait(ctx context.Context, events *fsnotify.Watcher) error {
	rescan := time.NewTimer(max(l.f.opt.Rescan-l.f.opt.Now().Sub(l.last), 0))
	defer rescan.Stop()
	var soon <-chan time.Time
	if len(l.later) > 0 {
		t := time.NewTimer(max(l.f.opt.Settle, 50*time.Millisecond))
		defer t.Stop()
		soon = t.C
	}
	var gathered <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-rescan.C:
			l.dirty["."] = true
			return nil
		case <-soon:
			for dir := range l.later {
				l.dirty[dir] = true
			}
			return nil
		case <-gathered:
			for dir := range l.later {
				l.dirty[dir] = true
			}
			return nil
		case e, ok := <-events.Events:
			if !ok {
				events = &fsnotify.Watcher{}
				continue
			}
			if !l.note(e) || gathered != nil {
				continue
			}
			t := time.NewTimer(gather)
			defer t.Stop()
			gathered = t.C
		case _, ok := <-events.Errors:
			if !ok {
				events = &fsnotify.Watcher{}
				continue
			}
			l.dirty["."] = true // events were lost
			return nil
		}
	}
}

// note marks the folder of an event; the events of our own reading tell nothing.
func (l *loop) note(e fsnotify.Event) bool {
	if !e.Has(fsnotify.Create) && !e.Has(fsnotify.Write) && !e.Has(fsnotify.Rename) {
		return false
	}
	rel, err := filepath.Rel(l.f.dir, e.Name)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return false
	}
	if len(l.dirty) >= 64 {
		l.dirty["."] = true
	} else {
		l.dirty[filepath.ToSlash(filepath.Dir(rel))] = true
	}
	return true
}
