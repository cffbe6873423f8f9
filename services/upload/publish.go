package upload

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/segue-music/segue/audio/ffmpeg"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/span"
	"github.com/segue-music/segue/stream/seal"
)

func objectKey(objectID string) string { return "objects/" + objectID }

func (r *run) oggPath(x ffmpeg.Rendition) string {
	return filepath.Join(r.workDir(), fmt.Sprintf("%d.ogg", x.Kbps()))
}

// published are the objects that metadata names, by bit rate.
func published(objects []Object) map[int]Object {
	out := map[int]Object{}
	for _, o := range objects {
		if o.State == ObjectPublished {
			out[o.Kbps] = o
		}
	}
	return out
}

// adopt finds the renditions that are published, also those of which an attempt that
// ended too early could not say so any more: metadata knows.
func (r *run) adopt(ctx context.Context) (map[int]bool, error) {
	objects, err := r.s.Store.Objects(ctx, r.u.ID)
	if err != nil {
		return nil, err
	}
	done := map[int]bool{}
	for kbps := range published(objects) {
		done[kbps] = true
	}
	sealed := slices.DeleteFunc(objects, func(o Object) bool { return o.State != ObjectSealed || done[o.Kbps] })
	if len(sealed) == 0 {
		return done, nil
	}
	named, err := r.s.namedObjects(ctx, r.u.TrackID)
	if err != nil {
		return nil, err
	}
	for _, o := range sealed {
		if !named[o.ID] {
			continue
		}
		if err := r.save(ctx, func(d *draft) error { r.markPublished(d, o); return nil }); err != nil {
			return nil, err
		}
		done[o.Kbps] = true
	}
	return done, nil
}

// namedObjects are the objects of a track that metadata names.
func (s *Service) namedObjects(ctx context.Context, trackID string) (map[string]bool, error) {
	res, err := within(ctx, s.Metadata.LookupTracks, &metadatav1.LookupTracksRequest{Ids: []string{trackID}})
	if err != nil {
		return nil, fmt.Errorf("look up track: %w", err)
	}
	named := map[string]bool{}
	for _, t := range res.GetTracks() {
		for _, x := range t.GetRenditions() {
			named[x.GetObjectId()] = true
		}
	}
	return named, nil
}

// publish seals a rendition, stores the object, gives its key to playback and its name to
// metadata: only the last makes it a part of the track. Each attempt draws a fresh key,
// which this service keeps nowhere; what an attempt left behind is swept.
func (r *run) publish(ctx context.Context, x ffmpeg.Rendition) (err error) {
	r.enter("seal")
	ctx, sp := span.Start(ctx, "publish rendition", trace.WithAttributes(attribute.Int("segue.quality_kbps", x.Kbps())))
	defer func() { span.End(sp, err) }()
	_, sealing := span.Start(ctx, "seal")
	sealed, path, err := r.seal(x)
	span.End(sealing, err)
	if err != nil {
		return err
	}
	o := Object{
		ID: hex.EncodeToString(sealed.ObjectID[:]), UploadID: r.u.ID, TrackID: r.u.TrackID, Kbps: x.Kbps(),
		State: ObjectSealed, At: r.s.Now().UTC(),
	}
	// Noted before it exists, so that nothing is left in the blob store that nobody knows.
	if err := r.save(ctx, func(d *draft) error { d.Objects = []Object{o}; return nil }); err != nil {
		return err
	}
	if err := r.storeObject(ctx, path, o.ID, int64(sealed.Bytes)); err != nil {
		return err
	}
	_, err = within(ctx, r.s.Keys.PutKey, &playbackv1.PutKeyRequest{
		ObjectId: o.ID, TrackId: o.TrackID, Kbps: uint32(o.Kbps), Kid: sealed.KID,
		SealId: sealed.SealID[:], BaseKey: sealed.BaseKey[:],
	})
	if err != nil {
		return fmt.Errorf("put key: %w", err)
	}
	_, err = within(ctx, r.s.Metadata.PublishRendition, &metadatav1.PublishRenditionRequest{TrackId: o.TrackID, Rendition: &metadatav1.Rendition{
		Kbps: uint32(o.Kbps), ObjectId: o.ID, Codec: "vorbis", SampleRate: uint32(sealed.Rate),
		Channels: uint32(sealed.Channels), TotalSamples: sealed.TotalSamples, Bytes: sealed.Bytes,
	}})
	if err != nil {
		return fmt.Errorf("publish rendition: %w", err)
	}
	return r.save(ctx, func(d *draft) error {
		r.markPublished(d, o)
		d.Upload.Step, d.Upload.Progress = r.step, min(d.Upload.Progress+20, 990)
		d.emit(r.done(0))
		return nil
	})
}

func (r *run) markPublished(d *draft, o Object) {
	o.State, o.At = ObjectPublished, r.s.Now().UTC()
	d.Objects = []Object{o}
	if d.Upload.State == Queued || d.Upload.State == Processing {
		d.Upload.State = Playable
	}
}

// seal encrypts the encoded rendition into a file of ciphertext beside it.
func (r *run) seal(x ffmpeg.Rendition) (seal.Sealed, string, error) {
	want, ok := r.u.Facts.file(x)
	if !ok {
		return seal.Sealed{}, "", fmt.Errorf("seal: no encoded %s", x)
	}
	in, err := os.Open(r.oggPath(x))
	if err != nil {
		return seal.Sealed{}, "", fmt.Errorf("seal: %w", err)
	}
	defer in.Close()
	path := filepath.Join(r.workDir(), fmt.Sprintf("%d.sealed", x.Kbps()))
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return seal.Sealed{}, "", fmt.Errorf("seal: %w", err)
	}
	sum := sha256.New()
	sealed, err := seal.Object(out, bufio.NewReaderSize(io.TeeReader(in, sum), 64<<10), seal.Options{
		KID: r.u.Generation, Random: r.s.Random, TempDir: r.workDir(),
	})
	if err = errors.Join(err, out.Close()); err == nil && hex.EncodeToString(sum.Sum(nil)) != want.SHA256 {
		err = errors.New("encoded file is damaged")
	}
	if err != nil {
		// Made anew by the next attempt, whatever was wrong with it.
		return seal.Sealed{}, "", errors.Join(fmt.Errorf("seal: %w", err), os.Remove(r.oggPath(x)))
	}
	return sealed, path, nil
}

func (r *run) storeObject(ctx context.Context, path, objectID string, size int64) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("store object: %w", err)
	}
	defer f.Close()
	if err := r.s.Blob.Put(ctx, objectKey(objectID), f, blob.PutOptions{IfAbsent: true, Size: size}); err != nil {
		return fmt.Errorf("store object: %w", err)
	}
	return nil
}

// outputs are the files that a transcode writes.
type outputs struct {
	r     *run
	todo  []ffmpeg.Rendition
	files []*hashedFile
	list  []ffmpeg.Output
}

type hashedFile struct {
	*os.File
	sum  hash.Hash
	size int64
}

func (h *hashedFile) Write(p []byte) (int, error) {
	n, err := h.File.Write(p)
	_, _ = h.sum.Write(p[:n]) // a hash never fails
	h.size += int64(n)
	return n, err
}

func newOutputs(r *run, todo []ffmpeg.Rendition) (*outputs, error) {
	o := &outputs{r: r, todo: todo}
	for _, x := range todo {
		f, err := os.OpenFile(r.oggPath(x)+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			o.close()
			return nil, fmt.Errorf("make rendition file: %w", err)
		}
		h := &hashedFile{File: f, sum: sha256.New()}
		o.files = append(o.files, h)
		o.list = append(o.list, ffmpeg.Output{Rendition: x, W: h})
	}
	return o, nil
}

// commit gives the files their names. They are not synced: their hashes are checked.
func (o *outputs) commit() ([]RenditionFile, error) {
	var out []RenditionFile
	for i, h := range o.files {
		name := o.r.oggPath(o.todo[i])
		if err := errors.Join(h.Close(), os.Rename(name+".part", name)); err != nil {
			return nil, fmt.Errorf("name rendition file: %w", err)
		}
		out = append(out, RenditionFile{Kbps: o.todo[i].Kbps(), Size: h.size, SHA256: hex.EncodeToString(h.sum.Sum(nil))})
	}
	return out, nil
}

func (o *outputs) close() {
	for _, h := range o.files {
		_ = h.Close() // closed already after a commit
	}
}
