package upload

import (
	"io"
	"sync"
	"time"

	"github.com/segue-music/segue/audio/tag"
)

// looked is what a scan found out about a file; tags is nil where they could not be read.
type looked struct{ tags *tag.Tags }

// readTags keeps the tags that a scan has read until the stage that gives them to
// metadata asks for them, mostly at once: a file is then read once. What does not fit is
// read again.
type readTags struct {
	mu   sync.Mutex
	byID map[string]readTag
}

// readTag are the tags of one version of a file.
type readTag struct {
	size  int64
	mod   time.Time
	quick string
	tags  *tag.Tags
}

const maxReadTags = 1024

func (r *readTags) put(u Upload, t *tag.Tags) {
	slim := *t
	// Of these nothing goes to metadata, and they may be large.
	slim.Lyrics, slim.Comment, slim.Copyright, slim.Pictures = "", "", "", nil
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID == nil {
		r.byID = map[string]readTag{}
	}
	if len(r.byID) < maxReadTags {
		r.byID[u.ID] = readTag{u.Size, u.ModTime, u.Quick, &slim}
	}
}

// take returns the tags of the version that u stands for, and forgets them; nil where
// they are not known.
func (r *readTags) take(u Upload) *tag.Tags {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, ok := r.byID[u.ID]
	delete(r.byID, u.ID)
	if !ok || t.size != u.Size || !t.mod.Equal(u.ModTime) || t.quick != u.Quick {
		return nil
	}
	return t.tags
}

// head is a file whose first bytes are in memory: tags and the quick hash both begin
// there.
type head struct {
	r     io.ReaderAt
	buf   *[quickPiece]byte
	first []byte
}

func newHead(r io.ReaderAt, size int64) *head {
	h := &head{r: r, buf: pieces.Get().(*[quickPiece]byte)}
	n, _ := r.ReadAt(h.buf[:min(size, quickPiece)], 0) // what is missing is read, or fails, when it is asked for
	h.first = h.buf[:n]
	return h
}

// free ends the use of the head.
func (h *head) free() {
	pieces.Put(h.buf)
	h.buf, h.first = nil, nil
}

// ReadAt implements io.ReaderAt.
func (h *head) ReadAt(p []byte, off int64) (int, error) {
	if off >= 0 && off+int64(len(p)) <= int64(len(h.first)) {
		return copy(p, h.first[off:]), nil
	}
	return h.r.ReadAt(p, off)
}
