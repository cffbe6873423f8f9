package upload

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync/atomic"
	"time"

	"github.com/segue-music/segue/audio/tag"
	"github.com/segue-music/segue/internal/pause"
	"github.com/segue-music/segue/services/upload/glance"
	"github.com/segue-music/segue/services/upload/watch"
)

// scanState is what is known of the watched folder in memory; the store has the same.
type scanState struct {
	busy  atomic.Bool // the first scan is under way
	known map[string]WatchedFile
	nodes map[node]string // path by inode, for files that move
	other map[string]seen // files that are no audio
	owner string
	// many is when a batch of new files was last full, in Unix milliseconds.
	many atomic.Int64
	// read are tags that the scan read, for the stage that follows.
	read glance.Tags
}

type node struct{ device, inode uint64 }

type seen struct {
	size int64
	mod  time.Time
}

// createBatch is how many files become uploads in one commit.
const createBatch = 64

// runFolder takes the files of the watched folder in.
func (s *Service) runFolder(ctx context.Context) error {
	for {
		err := s.loadScan(ctx)
		if err == nil {
			break
		}
		s.Log.WarnContext(ctx, "watched folder has to wait", "err", err)
		if !pause.For(ctx, pollTime) {
			return ctx.Err()
		}
	}
	return s.folder.Run(ctx, func(ctx context.Context, dir string, entered func(string)) (bool, error) {
		unsettled, err := s.scanFolder(ctx, dir, entered)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err != nil {
			s.Log.ErrorContext(ctx, "scan watched folder", "err", err)
			return true, nil // look again soon
		}
		if dir == "." && !unsettled {
			s.scan.busy.Store(false)
		}
		return unsettled, nil
	})
}

func (s *Service) loadScan(ctx context.Context) error {
	owner, err := s.WatchOwner(ctx)
	if err != nil {
		return fmt.Errorf("find owner of watched files: %w", err)
	}
	s.scan.owner = owner
	s.scan.known, s.scan.nodes, s.scan.other = map[string]WatchedFile{}, map[node]string{}, map[string]seen{}
	for f, err := range s.Store.WatchedFiles(ctx, s.folder.Dir()) {
		if err != nil {
			return err
		}
		s.remember(f)
	}
	return nil
}

func (s *Service) remember(f WatchedFile) {
	s.scan.known[f.Path] = f
	if f.Inode != 0 {
		s.scan.nodes[node{f.Device, f.Inode}] = f.Path
	}
}

// scanFolder makes uploads of what is new in dir and below.
func (s *Service) scanFolder(ctx context.Context, dir string, entered func(string)) (bool, error) {
	b := &batch{s: s}
	unsettled, err := s.folder.Scan(dir, entered, func(f watch.File) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return s.take(ctx, b, f)
	})
	return unsettled, errors.Join(err, b.flush(ctx))
}

// take decides what a file is: known, moved, no audio, changed or new.
func (s *Service) take(ctx context.Context, b *batch, f watch.File) error {
	known, ok := s.scan.known[f.Path]
	if ok && known.Size == f.Size && known.ModTime.Equal(f.ModTime) {
		return nil
	}
	if o, skip := s.scan.other[f.Path]; skip && o.size == f.Size && o.mod.Equal(f.ModTime) {
		return nil
	}
	if from, moved := s.movedFrom(f); moved {
		return s.move(ctx, from, f)
	}
	audio, tags, quick, err := s.isAudio(f)
	if err != nil || !audio {
		// Also one that cannot be read: it counts again when it changes.
		s.scan.other[f.Path] = seen{f.Size, f.ModTime}
		return nil //nolint:nilerr // one file, not the scan
	}
	if !ok {
		return b.add(ctx, f, version{quick: quick, generation: 1, tags: tags})
	}
	return s.renew(ctx, b, f, quick, known)
}

// movedFrom finds the path under which the same file was known, if it is gone from there.
func (s *Service) movedFrom(f watch.File) (string, bool) {
	from, ok := s.scan.nodes[node{f.Device, f.Inode}]
	if !ok || f.Inode == 0 || from == f.Path {
		return "", false
	}
	known := s.scan.known[from]
	if known.Size != f.Size || !known.ModTime.Equal(f.ModTime) {
		return "", false
	}
	_, there := s.folder.Exists(from)
	return from, !there
}

func (s *Service) move(ctx context.Context, from string, f watch.File) error {
	if err := s.Store.MoveWatched(ctx, s.folder.Dir(), from, f.Path); err != nil {
		return err
	}
	known := s.scan.known[from]
	known.Path = f.Path
	delete(s.scan.known, from)
	s.remember(known)
	return nil
}

// isAudio tells whether a file is to be taken in, its tags, nil where they could not be
// read, and its quick hash.
func (s *Service) isAudio(f watch.File) (audio bool, tags *tag.Tags, quick string, err error) {
	file, now, err := s.folder.Open(f.Path)
	if err != nil {
		return false, nil, "", err
	}
	defer file.Close()
	head := glance.NewHead(file, now.Size)
	defer head.Free()
	if tags, audio = head.Audio(now.Size); !audio {
		return false, nil, "", nil
	}
	quick, err = glance.Quick(head, f.Size)
	if now.Size != f.Size || !now.ModTime.Equal(f.ModTime) {
		tags = nil // they may be of a later version than what was found
	}
	return err == nil, tags, quick, err
}

// renew takes in a new version of a known file. As long as nothing of the old one plays
// its upload begins anew; else another one renews the same track.
func (s *Service) renew(ctx context.Context, b *batch, f watch.File, quick string, known WatchedFile) error {
	old, err := s.Store.Get(ctx, known.UploadID)
	if errors.Is(err, ErrNotFound) {
		return b.add(ctx, f, version{quick: quick, generation: 1})
	}
	if err != nil {
		return err
	}
	switch old.State {
	case Duplicate:
		return b.add(ctx, f, version{quick: quick, generation: 1}) // the track is that of another file
	case Complete:
		return b.add(ctx, f, version{quick: quick, supersedes: old.ID, trackID: old.TrackID, generation: old.Generation + 1})
	case Playable:
		_, err := s.change(ctx, old.ID, "", func(d *draft) error {
			d.Upload.State, d.Upload.Stage, d.Upload.Reason = Complete, StageNone, "A newer version of the file has taken its place."
			d.EndLease = true
			return nil
		})
		if err != nil {
			return err
		}
		return b.add(ctx, f, version{quick: quick, supersedes: old.ID, trackID: old.TrackID, generation: old.Generation + 1})
	default: // the same upload begins again
	}
	trace := s.found(ctx)
	_, err = s.change(ctx, old.ID, "", func(d *draft) error {
		u := &d.Upload
		if u.State == Playable || u.State == Complete {
			return ErrConflict // it came so far meanwhile; the next scan sees that
		}
		u.Size, u.Received, u.ModTime, u.SHA256, u.Quick, u.Facts = f.Size, f.Size, f.ModTime, "", quick, Facts{}
		u.State, u.Stage, u.Step, u.Reason, u.Attempts, u.Progress = Queued, StageTags, "probe", "", 0, 0
		u.RunAt, u.Trace = s.Now().UTC(), trace
		d.Watched, d.EndLease = s.watched(f, u.ID), true
		return nil
	})
	if errors.Is(err, ErrConflict) {
		return nil
	}
	if err == nil {
		s.remember(*s.watched(f, old.ID))
	}
	return err
}

func (s *Service) watched(f watch.File, uploadID string) *WatchedFile {
	return &WatchedFile{
		Folder: s.folder.Dir(), Path: f.Path, Size: f.Size, ModTime: f.ModTime,
		Device: f.Device, Inode: f.Inode, UploadID: uploadID,
	}
}

// batch gathers new uploads for one commit.
type batch struct {
	s *Service
	c Creation
}

// version is what a new upload of a file stands for.
type version struct {
	quick, supersedes, trackID string
	generation                 uint64
	tags                       *tag.Tags // as the scan read them, or nil
}

func (b *batch) add(ctx context.Context, f watch.File, v version) error {
	s, now := b.s, b.s.Now().UTC()
	u := Upload{
		ID: s.NewID(), OwnerID: s.scan.owner, Source: SourceWatch, FileName: cleanName(path.Base(f.Path)), Path: f.Path,
		ModTime: f.ModTime, Size: f.Size, Received: f.Size, State: Queued, Stage: StageTags, Step: "probe",
		TrackID: v.trackID, Supersedes: v.supersedes, Generation: v.generation, Quick: v.quick, Created: now, Updated: now, RunAt: now, Revision: 1,
		Trace: s.found(ctx),
	}
	events, err := s.started(u)
	if err != nil {
		return err
	}
	if v.tags != nil {
		s.scan.read.Put(u.ID, glance.Version{Size: u.Size, ModTime: u.ModTime, Quick: u.Quick}, v.tags)
	}
	b.c.Uploads = append(b.c.Uploads, u)
	b.c.Files = append(b.c.Files, *s.watched(f, u.ID))
	b.c.Events = append(b.c.Events, events...)
	if len(b.c.Uploads) < createBatch {
		return nil
	}
	return b.flush(ctx)
}

func (b *batch) flush(ctx context.Context) error {
	c := b.c
	b.c = Creation{}
	if len(c.Uploads) == 0 {
		return nil
	}
	if len(c.Uploads) == createBatch {
		b.s.scan.many.Store(b.s.Now().UnixMilli())
	}
	if err := b.s.Store.Create(ctx, c); err != nil {
		return err
	}
	for i, u := range c.Uploads {
		b.s.remember(c.Files[i])
		b.s.changed(Upload{}, u)
	}
	return nil
}
