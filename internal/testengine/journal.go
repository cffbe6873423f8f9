package testengine

import (
	"bytes"
	"strings"
	"sync"
)

// journalSize is how much of what an engine printed is kept, in bytes.
const journalSize = 32 << 10

// journal keeps the last of what an engine prints and tells when a text comes by.
type journal struct {
	ready  chan struct{} // closed when the text has come by
	mu     sync.Mutex
	text   []byte // looked for; nil when there is nothing to look for any more
	recent []byte
}

func newJournal(text string) *journal {
	return &journal{ready: make(chan struct{}), text: []byte(text)}
}

// Write never fails.
func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	from := max(0, len(j.recent)-len(j.text)) // it may have begun before b
	j.recent = append(j.recent, b...)
	if len(j.text) > 0 && bytes.Contains(j.recent[from:], j.text) {
		j.text = nil
		close(j.ready)
	}
	if over := len(j.recent) - journalSize; over > 0 {
		j.recent = append(j.recent[:0], j.recent[over:]...)
	}
	return len(b), nil
}

// has reports whether what is kept has the text, whatever the case of its letters.
func (j *journal) has(text string) bool {
	return strings.Contains(strings.ToLower(j.String()), strings.ToLower(text))
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return string(j.recent)
}
