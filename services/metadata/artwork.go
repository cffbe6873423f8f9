package metadata

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"time"

	"github.com/segue-music/segue/internal/blob"
)

var artworkID = regexp.MustCompile(`^[0-9A-Za-z]{16,64}$`)

// artworkSizes are tried in this order for each size that may be asked: smaller ones
// first, because a small original has no larger picture.
func artworkSizes(size string) []string {
	switch size {
	case "160":
		return []string{"160", "320", "640"}
	case "320":
		return []string{"320", "160", "640"}
	case "640":
		return []string{"640", "320", "160"}
	}
	return nil
}

// serveArtwork serves GET /artwork/<id>/<size>. It is open to everyone and may be kept
// for ever: an id is the hash of the picture. Errors are not to be kept.
func (s *Service) serveArtwork(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cache-Control", "no-store")
	artwork, sizes := r.PathValue("id"), artworkSizes(r.PathValue("size"))
	if !artworkID.MatchString(artwork) || sizes == nil {
		http.Error(w, "no such artwork", http.StatusNotFound)
		return
	}
	for _, size := range sizes {
		object, err := s.blobs.Open(r.Context(), "artwork/"+artwork+"/"+size+".jpg")
		if errors.Is(err, blob.ErrNotFound) {
			continue
		}
		if err != nil {
			if r.Context().Err() == nil {
				s.log.ErrorContext(r.Context(), "open artwork", "artwork", artwork, "size", size, "err", err)
			}
			http.Error(w, "artwork is not to be had now", http.StatusServiceUnavailable)
			return
		}
		h.Set("Content-Type", "image/jpeg")
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		h.Set("ETag", fmt.Sprintf("%q", artwork+"-"+size))
		http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(object, 0, object.Size()))
		if err := object.Close(); err != nil {
			s.log.WarnContext(r.Context(), "close artwork", "artwork", artwork, "err", err)
		}
		return
	}
	http.Error(w, "no such artwork", http.StatusNotFound)
}
