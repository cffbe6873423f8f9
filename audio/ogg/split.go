package ogg

import (
	"errors"
	"fmt"
	"io"
	"sort"
)

// MaxStreamSize bounds what Split takes into memory, in bytes.
const MaxStreamSize = 1 << 30

// Stream is a whole Vorbis stream cut into records. Setup and the records' pages
// one after the other are the file, byte for byte.
type Stream struct {
	Vorbis *Vorbis
	// Setup holds the header pages.
	Setup   []byte
	Records []Record
	// TotalSamples per channel: the last granule position and the sum of the
	// records' samples.
	TotalSamples uint64
}

// Split reads a whole stream. For one that should not be held in memory use a
// Splitter.
func Split(r io.Reader) (*Stream, error) {
	s, err := NewSplitter(r)
	if err != nil {
		return nil, err
	}
	out := &Stream{Vorbis: s.Vorbis(), Setup: s.Setup()}
	size := len(out.Setup)
	for {
		rec, err := s.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if size += len(rec.Pages); size > MaxStreamSize {
			return nil, fmt.Errorf("%w: over %d bytes", ErrTooLarge, MaxStreamSize)
		}
		out.Records = append(out.Records, *rec)
	}
	out.TotalSamples = s.TotalSamples()
	return out, nil
}

// RecordAt returns the number of the record at which a decoder has to start so
// that it yields the sample at target: the last one whose JoinSample is not
// past it. The samples to drop are target minus that JoinSample.
func (s *Stream) RecordAt(target uint64) int {
	n := sort.Search(len(s.Records), func(i int) bool { return s.Records[i].JoinSample > target })
	return max(n-1, 0)
}
