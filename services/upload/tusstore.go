package upload

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	tus "github.com/tus/tusd/v2/pkg/handler"
	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/audio/tag"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/span"
	"github.com/segue-music/segue/services/upload/staging"
)

// tusStore is where tusd's handler keeps uploads: the rows in the Store, the bytes in the
// staging folder until they are complete, then in the blob store.
type tusStore struct{ s *Service }

var (
	_ tus.DataStore           = (*tusStore)(nil)
	_ tus.TerminaterDataStore = (*tusStore)(nil)
)

const defaultName = "upload"

// cleanName is a file name for display: its last part, without what could mislead.
func cleanName(name string) string {
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	if name = tag.Clean(name, 255); name == "" || name == "." || name == ".." || name == "/" {
		return defaultName
	}
	return name
}

// NewUpload takes the owner from the token and nothing but a name from the metadata.
func (t *tusStore) NewUpload(ctx context.Context, info tus.FileInfo) (tus.Upload, error) {
	s, now := t.s, t.s.Now().UTC()
	if err := s.Space(); err != nil {
		return nil, s.tusError(err)
	}
	u := Upload{
		ID: s.NewID(), OwnerID: identity.From(ctx).UserID, Source: SourceTus, FileName: cleanName(info.MetaData["filename"]),
		Size: info.Size, State: Receiving, Created: now, Updated: now, Revision: 1, Generation: 1,
		Trace: span.Text(ctx),
	}
	events, err := s.started(u)
	if err != nil {
		return nil, s.tusError(err)
	}
	c := Creation{Uploads: []Upload{u}, Events: events, Bounds: Bounds{Bytes: s.cfg.Quota, Open: s.cfg.MaxOpen}}
	if err := s.Store.Create(ctx, c); err != nil {
		return nil, s.tusError(err)
	}
	s.changed(Upload{}, u)
	return &tusUpload{s, u}, nil
}

// GetUpload finds an upload of the caller's; anyone else's is not found.
func (t *tusStore) GetUpload(ctx context.Context, id string) (tus.Upload, error) {
	u, err := t.s.Store.Get(ctx, id)
	if err == nil && (u.OwnerID != identity.From(ctx).UserID || u.Source != SourceTus) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, t.s.tusError(err)
	}
	return &tusUpload{t.s, u}, nil
}

// AsTerminatableUpload implements tus.TerminaterDataStore.
func (t *tusStore) AsTerminatableUpload(u tus.Upload) tus.TerminatableUpload {
	if up, ok := u.(*tusUpload); ok {
		return up
	}
	return nil
}

// tusUpload is one upload in one request, under tusd's lock on it.
type tusUpload struct {
	s *Service
	u Upload
}

func (t *tusUpload) GetInfo(context.Context) (tus.FileInfo, error) {
	return tus.FileInfo{
		ID: t.u.ID, Size: t.u.Size, Offset: t.u.Received, MetaData: tus.MetaData{"filename": t.u.FileName},
	}, nil
}

// WriteChunk keeps what has come in, also when the connection ends in the middle.
func (t *tusUpload) WriteChunk(ctx context.Context, offset int64, src io.Reader) (int64, error) {
	if t.u.State != Receiving || offset != t.u.Received {
		return 0, t.s.tusError(ErrConflict)
	}
	if err := t.s.Space(); err != nil {
		return 0, t.s.tusError(err)
	}
	n, err := t.s.partial.Append(t.u.ID, offset, t.u.Size-offset, src, func(size int64) error {
		u, err := t.s.change(ctx, t.u.ID, "", func(d *draft) error {
			if d.Upload.State != Receiving {
				return ErrConflict
			}
			d.Upload.Received = size
			return nil
		})
		if err == nil {
			t.u = u
		}
		return err
	})
	t.s.metrics.received.Add(float64(n))
	if errors.Is(err, staging.ErrNotFound) {
		// The disk lost them; the client learns by HEAD that it has to begin again.
		_, resetErr := t.s.change(ctx, t.u.ID, "", func(d *draft) error { d.Upload.Received = 0; return nil })
		err = errors.Join(ErrConflict.With("the bytes sent before are lost, begin again"), resetErr)
	}
	return n, t.s.tusError(err)
}

// FinishUpload makes the bytes durable for every instance and queues the job. It is
// called again by the janitor when it was cut off.
func (t *tusUpload) FinishUpload(ctx context.Context) error {
	return t.s.tusError(t.s.finishReceiving(ctx, t.u.ID))
}

func (s *Service) finishReceiving(ctx context.Context, uploadID string) error {
	u, err := s.Store.Get(ctx, uploadID)
	if err != nil {
		return err
	}
	if u.State != Receiving || u.Received != u.Size {
		return nil
	}
	f, err := s.partial.Read(u.ID)
	if err != nil {
		return fmt.Errorf("stage upload: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(f, sum), 1<<20)
	if err := s.Blob.Put(ctx, stagingKey(u.ID), in, blob.PutOptions{Size: u.Size}); err != nil {
		return fmt.Errorf("stage upload: %w", err)
	}
	digest := hex.EncodeToString(sum.Sum(nil))
	_, err = s.change(ctx, u.ID, "", func(d *draft) error {
		if d.Upload.State != Receiving {
			return ErrConflict
		}
		d.stage(digest, s.Now().UTC())
		return nil
	})
	if err != nil && !errors.Is(err, ErrConflict) {
		return err
	}
	return s.partial.Remove(u.ID)
}

func (t *tusUpload) GetReader(context.Context) (io.ReadCloser, error) {
	return nil, tus.ErrNotImplemented // nothing is downloaded
}

// Terminate withdraws an upload whose bytes are not complete.
func (t *tusUpload) Terminate(ctx context.Context) error {
	if t.u.State != Receiving {
		return t.s.tusError(ErrBusy)
	}
	events, err := t.s.envelopes(t.u, t.u.Revision+1, []proto.Message{
		&eventv1.UploadStateChanged{From: stateName(t.u.State), To: "terminated"},
	})
	if err == nil {
		err = t.s.Store.Delete(ctx, t.u.ID, t.u.Revision, events)
	}
	if err == nil {
		err = t.s.partial.Remove(t.u.ID)
	}
	return t.s.tusError(err)
}
