package glance

import (
	"sync"
	"time"

	"github.com/segue-music/segue/audio/tag"
)

// Version tells two states of a file apart.
type Version struct {
	Size    int64
	ModTime time.Time
	Quick   string
}

// Tags keeps the tags that a scan has read until the stage that gives them to metadata
// asks for them, mostly at once: a file is then read once. What does not fit is read
// again. The zero value is empty; it may be used concurrently.
type Tags struct {
	mu   sync.Mutex
	byID map[string]versioned
}

type versioned struct {
	version Version
	tags    *tag.Tags
}

// most is how many are kept.
const most = 1024

// Put keeps the tags of a version of the upload id.
func (k *Tags) Put(id string, v Version, t *tag.Tags) {
	slim := *t
	// Of these nothing goes to metadata, and they may be large.
	slim.Lyrics, slim.Comment, slim.Copyright, slim.Pictures = "", "", "", nil
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byID == nil {
		k.byID = map[string]versioned{}
	}
	if len(k.byID) < most {
		k.byID[id] = versioned{v, &slim}
	}
}

// Take returns the tags of a version and forgets them; nil where they are not known.
func (k *Tags) Take(id string, v Version) *tag.Tags {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := k.byID[id]
	delete(k.byID, id)
	if !ok || t.version.Size != v.Size || !t.version.ModTime.Equal(v.ModTime) || t.version.Quick != v.Quick {
		return nil
	}
	return t.tags
}
