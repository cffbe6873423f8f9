package upload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/segue-music/segue/audio/artwork"
	"github.com/segue-music/segue/audio/tag"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/stream/id"
)

// cover makes the front cover fit to serve. A track without one, or with one that
// cannot be read, goes on without.
func (r *run) cover(ctx context.Context) error {
	r.enter("cover")
	picture, err := r.findCover(ctx)
	if err != nil {
		return err
	}
	var art *metadatav1.Artwork
	var unfit string
	if picture != nil {
		if art, unfit, err = r.s.makeCover(ctx, picture); err != nil {
			return err
		}
	}
	if art != nil {
		req := &metadatav1.PutArtworkRequest{TrackId: r.u.TrackID, Artwork: art}
		if _, err := within(ctx, r.s.Metadata.PutArtwork, req); err != nil {
			return fmt.Errorf("put artwork: %w", err)
		}
	}
	return r.settle(ctx, func(d *draft) error {
		u := &d.Upload
		u.Stage, u.Step, u.Progress, u.Attempts = StageAudio, "transcode", max(u.Progress, 40), 0
		if unfit != "" {
			d.emit(&eventv1.IngestStepFailed{Step: r.step, Attempt: u.Attempts + 1, Reason: unfit, Final: true})
			r.s.metrics.failures.WithLabelValues(r.step, "picture", boolText(true)).Inc()
			return nil
		}
		d.emit(r.done(0))
		return nil
	})
}

// findCover reads the embedded picture, else a picture beside a watched file.
func (r *run) findCover(ctx context.Context) ([]byte, error) {
	src, err := r.s.look(ctx, r.u)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	t, err := tag.Read(src, src.Size())
	if err == nil && t.Cover() != nil {
		b, err := t.Cover().Read(src)
		if err == nil {
			return b, nil
		}
		if !errors.Is(err, tag.ErrPicture) {
			return nil, fmt.Errorf("read cover: %w", err)
		}
	}
	if r.u.Source != SourceWatch {
		return nil, nil
	}
	return r.s.coverBeside(r.u.Path), nil
}

// coverBeside finds cover.jpg and its like in the folder of a file; nil when there is
// none that can be read.
func (s *Service) coverBeside(file string) []byte {
	dir := path.Dir(file)
	names, err := s.folder.Names(dir)
	if err != nil {
		return nil
	}
	for _, stem := range []string{"cover", "folder", "front", "album"} {
		for _, ext := range []string{".jpg", ".jpeg", ".png", ".webp", ".gif"} {
			for _, name := range names {
				if !strings.EqualFold(name, stem+ext) {
					continue
				}
				f, info, err := s.folder.Open(path.Join(dir, name))
				if err != nil {
					continue
				}
				b, err := io.ReadAll(io.LimitReader(f, artwork.MaxBytes+1))
				_ = f.Close() // it was only read
				if err == nil && info.Size > 0 && len(b) <= artwork.MaxBytes {
					return b
				}
			}
		}
	}
	return nil
}

// coverCache remembers what became of pictures: an album's tracks mostly have the same.
type coverCache struct {
	mu    sync.Mutex
	known map[[32]byte]knownCover
	order [][32]byte
}

// knownCover is the artwork, or why there is none.
type knownCover struct {
	art   *metadatav1.Artwork
	unfit string
}

const maxCovers = 512

func (c *coverCache) get(k [32]byte) (knownCover, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.known[k]
	return a, ok
}

func (c *coverCache) put(k [32]byte, a knownCover) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[[32]byte]knownCover{}
	}
	if _, ok := c.known[k]; !ok {
		c.order = append(c.order, k)
	}
	c.known[k] = a
	if len(c.order) > maxCovers {
		delete(c.known, c.order[0])
		c.order = c.order[1:]
	}
}

// makeCover stores the sizes of a picture, or says why it is not fit to be a cover.
func (s *Service) makeCover(ctx context.Context, picture []byte) (art *metadatav1.Artwork, why string, err error) {
	key := sha256.Sum256(picture)
	if a, ok := s.covers.get(key); ok {
		return a.art, a.unfit, nil
	}
	c, err := artwork.Make(picture)
	if err != nil {
		why = "The cover is left out: " + artwork.Explain(err) + "."
		s.Log.InfoContext(ctx, "picture is no cover", "sha256", hex.EncodeToString(key[:8]), "err", err)
		s.covers.put(key, knownCover{unfit: why})
		return nil, why, nil
	}
	a := coverMessage(c)
	for i, size := range artwork.Sizes() {
		// A small source has no larger images; it answers for their sizes as it is.
		img := c.Images[min(i, len(c.Images)-1)]
		name := fmt.Sprintf("artwork/%s/%d.jpg", a.GetId(), size)
		err := s.Blob.Put(ctx, name, bytes.NewReader(img.JPEG), blob.PutOptions{IfAbsent: true, Size: int64(len(img.JPEG))})
		if err != nil && !errors.Is(err, blob.ErrExists) {
			return nil, "", fmt.Errorf("store cover: %w", err)
		}
	}
	s.covers.put(key, knownCover{art: a})
	return a, "", nil
}

// coverMessage names the artwork by its content: a name never shows two pictures.
func coverMessage(c *artwork.Cover) *metadatav1.Artwork {
	parts := []string{"artwork"}
	for _, img := range c.Images {
		parts = append(parts, string(img.JPEG))
	}
	a := &metadatav1.Artwork{
		Id: id.Derive(parts...).String(), Width: uint32(c.Source.Width), Height: uint32(c.Source.Height),
		MeanRgb: uint32(c.Accent.Mean[0])<<16 | uint32(c.Accent.Mean[1])<<8 | uint32(c.Accent.Mean[2]),
	}
	if c.Accent.Coloured {
		a.AccentHue = uint32(c.Accent.Hue+0.5) % 360
		a.AccentChromaMilli = max(1, uint32(c.Accent.Chroma*1000+0.5))
	}
	return a
}
