package seed

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/stream/seal"
)

// sound gives a track its renditions: facts of the decode first, then for each the
// object, its key, and last its name, which makes it a part of the track.
func (s *seeding) sound(ctx context.Context, from source, t *Track) error {
	t.Objects = map[int]string{}
	for i, kbps := range s.Kbps {
		x, err := s.seal(from.ogg[kbps])
		if err != nil {
			return fmt.Errorf("seal %d kbit/s of %q: %w", kbps, t.Title, err)
		}
		ms := x.TotalSamples * 1000 / uint64(x.Rate)
		object := hex.EncodeToString(x.ObjectID[:])
		if i == 0 {
			_, err := s.ingest.SetTrackFacts(ctx, &metadatav1.SetTrackFactsRequest{TrackId: t.ID, DurationMs: ms, GainTrackQ8: -9 * 256, PeakQ8: -128})
			if err != nil {
				return fmt.Errorf("set facts of %q: %w", t.Title, err)
			}
			t.Seconds = float64(ms) / 1000
		}
		_, err = s.keys.PutKey(ctx, &playbackv1.PutKeyRequest{
			ObjectId: object, TrackId: t.ID, Kbps: uint32(kbps), Kid: x.KID, SealId: x.SealID[:], BaseKey: x.BaseKey[:],
		})
		if err != nil {
			return fmt.Errorf("put key of %q: %w", t.Title, err)
		}
		_, err = s.ingest.PublishRendition(ctx, &metadatav1.PublishRenditionRequest{TrackId: t.ID, Rendition: &metadatav1.Rendition{
			Kbps: uint32(kbps), ObjectId: object, Codec: "vorbis", SampleRate: uint32(x.Rate), Channels: uint32(x.Channels),
			TotalSamples: x.TotalSamples, Bytes: x.Bytes,
		}})
		if err != nil {
			return fmt.Errorf("publish rendition of %q: %w", t.Title, err)
		}
		t.Objects[kbps] = object
	}
	return nil
}

// seal writes one object where the server's blob store has its own. The store is not
// opened a second time: that would clean up what the server is writing.
func (s *seeding) seal(ogg []byte) (_ seal.Sealed, err error) {
	blobs := filepath.Join(s.Data, "blobs")
	tmp, err := os.CreateTemp(filepath.Join(blobs, "tmp"), "seed-")
	if err != nil {
		return seal.Sealed{}, fmt.Errorf("make object: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tmp.Close(), os.Remove(tmp.Name()))
		}
	}()
	x, err := seal.Object(tmp, bytes.NewReader(ogg), seal.Options{Random: rand.Reader})
	if err != nil {
		return seal.Sealed{}, err
	}
	dir := filepath.Join(blobs, "objects", "objects")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return seal.Sealed{}, fmt.Errorf("make folder of objects: %w", err)
	}
	if err := os.Rename(tmp.Name(), filepath.Join(dir, hex.EncodeToString(x.ObjectID[:]))); err != nil {
		return seal.Sealed{}, fmt.Errorf("name object: %w", err)
	}
	return x, tmp.Close()
}

// readAll is a file's content.
func readAll(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
