package upload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"path"
	"strings"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/span"
	"github.com/segue-music/segue/services/upload/glance"
	"github.com/segue-music/segue/services/upload/notice"
	"github.com/segue-music/segue/stream/id"
)

// Inbox is a bucket into which others put music. It is read with the server's own
// credentials; its keys are what others chose. ErrNotFound is blob's.
type Inbox interface {
	Stat(ctx context.Context, key string) (blob.Info, error)
	Open(ctx context.Context, key string) (blob.Object, error)
	List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error]
}

// BucketConfig says what is taken in of an [Inbox].
type BucketConfig struct {
	// Name is that of the bucket, as its messages have it; empty takes nothing in.
	Name string
	// Prefix of the keys that are taken in.
	Prefix string
	// Token is what a sender of messages must know.
	Token []byte
	// Messages gives handle what a queue holds of them, until ctx ends, and again what it
	// fails for. Who may write to the queue is believed as who knows the token. Nil is none.
	Messages func(ctx context.Context, handle func(ctx context.Context, message []byte) error) error
	// Rescan is how often the bucket is listed, for messages that were lost.
	Rescan time.Duration
	// Owner names the user who owns what comes in.
	Owner func(ctx context.Context) (string, error)
}

const bucketPath = "/upload/v1/bucket"

// serveBucket takes the messages of the bucket. It answers when all of them are noted; any
// other answer than 204 has the sender send again.
func (s *Service) serveBucket(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		token = r.URL.Query().Get("token") // some senders can be given a URL only
	}
	given, want := sha256.Sum256([]byte(token)), sha256.Sum256(s.Bucket.Token)
	if s.Inbox == nil || len(s.Bucket.Token) == 0 || subtle.ConstantTimeCompare(given[:], want[:]) != 1 {
		http.Error(w, "the sender is not known", http.StatusUnauthorized)
		return
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(http.MaxBytesReader(w, r.Body, notice.MaxBytes)); err != nil {
		http.Error(w, "the message is too large, or broke off", http.StatusBadRequest)
		return
	}
	switch err := s.Noticed(r.Context(), b.Bytes()); {
	case errors.Is(err, notice.ErrMessage):
		http.Error(w, "no message of a bucket", http.StatusBadRequest)
	case err != nil:
		s.Log.WarnContext(r.Context(), "message of the bucket waits", "err", err)
		w.Header().Set("Retry-After", "10")
		http.Error(w, "not now, send it again", http.StatusServiceUnavailable)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// queued is Noticed for a queue, in which nobody waits for an answer.
func (s *Service) queued(ctx context.Context, message []byte) error {
	err := s.Noticed(ctx, message)
	if errors.Is(err, notice.ErrMessage) {
		s.Log.WarnContext(ctx, "message of the bucket's queue is passed over", "bytes", len(message), "err", err)
		return nil
	}
	return err
}

// Noticed takes in what a message of the bucket tells of: only the configured bucket and
// prefix, and only what the bucket itself says is there. A repeat changes nothing.
func (s *Service) Noticed(ctx context.Context, message []byte) error {
	list, err := notice.Read(message)
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.Bucket != s.Bucket.Name {
			continue
		}
		for _, key := range c.Keys {
			if !strings.HasPrefix(key, s.Bucket.Prefix) {
				continue
			}
			info, err := s.Inbox.Stat(ctx, key)
			if errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrKey) {
				continue
			}
			if err != nil {
				return fmt.Errorf("look up object: %w", err)
			}
			if err := s.takeObject(ctx, info); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// bucketID is the upload of one version of an object.
func (s *Service) bucketID(o blob.Info) string {
	return id.Derive("bucket", s.Bucket.Name, o.Key, fmt.Sprint(o.Size), o.ModTime.UTC().Format(time.RFC3339Nano)).String()
}

// takeObject makes an object an upload, if it is audio and none yet. Its bytes follow.
func (s *Service) takeObject(ctx context.Context, o blob.Info) error {
	if strings.HasSuffix(o.Key, "/") || o.Size == 0 || o.Size > s.cfg.MaxSize {
		return nil
	}
	uploadID := s.bucketID(o)
	if _, err := s.Store.Get(ctx, uploadID); !errors.Is(err, ErrNotFound) {
		return err // nil: it is here already
	}
	audio, err := s.isAudioObject(ctx, o)
	if err != nil || !audio {
		return err
	}
	if err := s.Space(); err != nil {
		return err
	}
	owner, err := s.Bucket.Owner(ctx)
	if err != nil {
		return fmt.Errorf("find owner of the bucket's objects: %w", err)
	}
	now := s.Now().UTC()
	u := Upload{
		ID: uploadID, OwnerID: owner, Source: SourceBucket, FileName: cleanName(path.Base(o.Key)), Path: o.Key,
		Size: o.Size, ModTime: o.ModTime, State: Receiving, Created: now, Updated: now, Revision: 1, Generation: 1, Trace: span.Text(ctx),
	}
	events, err := s.started(u)
	if err != nil {
		return err
	}
	err = s.Store.Create(ctx, Creation{Uploads: []Upload{u}, Events: events, Bounds: Bounds{Bytes: s.cfg.Quota}})
	if errors.Is(err, ErrExists) {
		return nil // another instance was first
	}
	if err != nil {
		return fmt.Errorf("note object: %w", err)
	}
	s.changed(Upload{}, u)
	select {
	case s.fetch <- struct{}{}:
	default: // awake already
	}
	return nil
}

// isAudioObject looks at the beginning of an object, as at that of a watched file.
func (s *Service) isAudioObject(ctx context.Context, o blob.Info) (bool, error) {
	src, err := s.Inbox.Open(ctx, o.Key)
	if errors.Is(err, blob.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at object: %w", err)
	}
	defer src.Close()
	head := glance.NewHead(src, src.Size())
	defer head.Free()
	_, audio := head.Audio(src.Size())
	return audio, nil
}

const (
	// fetchEvery is how often objects are looked for whose bytes have not come yet.
	fetchEvery = 30 * time.Second
	// relistFirst is when the bucket is listed again after a listing that failed, later each
	// time: at a start the service that knows its owner may not be there yet.
	relistFirst = 500 * time.Millisecond
)

// runBucket brings the bytes of objects in, and lists the bucket now and then.
func (s *Service) runBucket(ctx context.Context) error {
	var list time.Time // when it is listed next
	again := relistFirst
	for {
		if now := s.Now(); !now.Before(list) {
			err := s.scanBucket(ctx)
			if list = now.Add(s.Bucket.Rescan); err == nil {
				again = relistFirst
			} else if ctx.Err() == nil {
				s.Log.WarnContext(ctx, "list bucket", "again", again, "err", err)
				list = now.Add(again)
				again = min(2*again, s.Bucket.Rescan)
			}
		}
		if err := s.fetchObjects(ctx); err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "fetch objects of the bucket", "err", err)
		}
		t := time.NewTimer(min(fetchEvery, list.Sub(s.Now())))
		select {
		case <-s.fetch:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		t.Stop()
	}
}

func (s *Service) scanBucket(ctx context.Context) error {
	for o, err := range s.Inbox.List(ctx, s.Bucket.Prefix) {
		if err != nil {
			return err
		}
		if err := s.takeObject(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// fetchObjects stages the bytes of all objects that were noted.
func (s *Service) fetchObjects(ctx context.Context) error {
	us, err := s.Store.Stale(ctx, Receiving, false, s.Now().Add(time.Second), sweepBatch)
	for _, u := range us {
		if u.Source == SourceBucket {
			err = errors.Join(err, s.fetchObject(ctx, u))
		}
	}
	return err
}

// fetchObject stages one object, if it still is what it was: another version of it is
// another upload. Repeating it after a crash does no harm.
func (s *Service) fetchObject(ctx context.Context, u Upload) error {
	info, err := s.Inbox.Stat(ctx, u.Path)
	if errors.Is(err, blob.ErrNotFound) || err == nil && s.bucketID(info) != u.ID {
		return s.leaveObject(ctx, u)
	}
	if err != nil {
		return fmt.Errorf("fetch object: %w", err)
	}
	src, err := s.Inbox.Open(ctx, u.Path)
	if err != nil {
		return fmt.Errorf("fetch object: %w", err)
	}
	defer src.Close()
	sum := sha256.New()
	if err := s.Blob.Put(ctx, stagingKey(u.ID), io.TeeReader(withContext(ctx, src), sum), blob.PutOptions{Size: u.Size}); err != nil {
		return fmt.Errorf("stage object: %w", err)
	}
	digest := hex.EncodeToString(sum.Sum(nil))
	_, err = s.change(ctx, u.ID, "", func(d *draft) error {
		if d.Upload.State != Receiving {
			return ErrConflict // another instance has staged it
		}
		d.stage(digest, s.Now().UTC())
		return nil
	})
	if errors.Is(err, ErrConflict) {
		return nil
	}
	return err
}

// leaveObject ends an upload whose object is gone, or is another one by now.
func (s *Service) leaveObject(ctx context.Context, u Upload) error {
	_, err := s.change(ctx, u.ID, "", func(d *draft) error {
		if d.Upload.State != Receiving {
			return ErrConflict
		}
		d.Upload.State, d.Upload.Reason = Failed, "The object is no longer in its bucket, or has changed."
		d.emit(&eventv1.UploadRejected{Code: "gone", Reason: d.Upload.Reason})
		return nil
	})
	if errors.Is(err, ErrConflict) || fault.KindOf(err) == fault.NotFound {
		return nil
	}
	return err
}
