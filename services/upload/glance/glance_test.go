package glance_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/segue-music/segue/audio/tag"
	"github.com/segue-music/segue/services/upload/glance"
)

func TestQuick(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 8<<10)
	hash := func(b []byte) string {
		plain, err := glance.Quick(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		h := glance.NewHead(bytes.NewReader(b), int64(len(b)))
		defer h.Free()
		if again, err := glance.Quick(h, int64(len(b))); err != nil || again != plain {
			t.Errorf("through a head: %s, %v, want %s", again, err, plain)
		}
		return plain
	}
	was := hash(data)
	for _, at := range []int{0, len(data) / 2, len(data) - 1} {
		other := bytes.Clone(data)
		other[at]++
		if hash(other) == was {
			t.Errorf("a change of byte %d does not show", at)
		}
	}
	if hash(data[:len(data)-1]) == was || hash(data[:3]) == was {
		t.Error("another length does not show")
	}
}

func TestTags(t *testing.T) {
	var k glance.Tags
	v := glance.Version{Size: 3, ModTime: time.Unix(5, 0), Quick: "q"}
	k.Put("a", v, &tag.Tags{Title: "T", Lyrics: "long"})
	if got := k.Take("a", glance.Version{Size: 4, ModTime: v.ModTime, Quick: "q"}); got != nil {
		t.Errorf("tags of another version: %+v", got)
	}
	k.Put("a", v, &tag.Tags{Title: "T", Lyrics: "long"})
	if got := k.Take("a", v); got == nil || got.Title != "T" || got.Lyrics != "" {
		t.Errorf("got %+v", got)
	}
	if got := k.Take("a", v); got != nil {
		t.Error("taken twice")
	}
}
