package tag

import (
	"errors"
	"fmt"
	"io"
	"time"
)

var (
	// ErrUnknown means that the content is of no type that this package reads.
	ErrUnknown = errors.New("tag: unknown file type")
	// ErrCorrupt means that the file claims a type and breaks its rules before
	// anything of use was found.
	ErrCorrupt = errors.New("tag: corrupt file")
)

// Container is the type of a file.
type Container string

// The containers.
const (
	MP3  Container = "mp3"
	FLAC Container = "flac"
	Ogg  Container = "ogg"
	MP4  Container = "mp4"
	WAV  Container = "wav"
	AIFF Container = "aiff"
)

// Tags are the facts and the tags of one file. Absent strings and lists are
// empty, absent numbers 0.
type Tags struct {
	Container Container
	// Codec is mp3, mp2, flac, vorbis, opus, aac, alac, pcm, or the format's own
	// short name.
	Codec string
	// Duration is as the headers say; Estimated tells that it was worked out
	// from the size and one bit rate.
	Duration  time.Duration
	Estimated bool
	// Rate is in samples per second; Opus always gives 48000.
	Rate, Channels int
	// BitDepth is 0 for lossy codecs; BitRate is the mean in bit/s.
	BitDepth, BitRate int

	Title string
	// Artists are the main artists, Featured those after "feat."; ArtistCredit is
	// the artist tag as one line, for display.
	Artists      []string
	Featured     []string
	ArtistCredit string
	AlbumArtists []string
	Album        string
	Composers    []string
	Genres       []string
	Label        string
	Comment      string
	Lyrics       string
	Copyright    string
	// Licence is a name or a URL, as the tag has it.
	Licence string

	Track, TrackTotal, Disc, DiscTotal int
	// Date and OriginalDate are "2006", "2006-01" or "2006-01-02".
	Date, OriginalDate string
	Compilation        bool
	// Explicit is what the advisory of iTunes says; most files say nothing.
	Explicit bool

	// ISRC has 12 characters, Barcode 8 to 14 digits.
	ISRC, Barcode, CatalogNumber string
	MusicBrainz                  MusicBrainz
	ReplayGain                   ReplayGain

	Pictures []Picture
}

// MusicBrainz holds lower-case UUIDs.
type MusicBrainz struct {
	Recording, Release, ReleaseGroup, ReleaseTrack string
	Artists, AlbumArtists                          []string
}

// ReplayGain holds gains in dB and peaks as a share of full scale; nil is
// absent.
type ReplayGain struct {
	TrackGain, AlbumGain, TrackPeak, AlbumPeak *float64
}

// Read reads the tags of a file of size bytes. It fails with ErrUnknown,
// ErrCorrupt, or the reader's error. A file that is damaged after its tags gives
// what was found.
func Read(r io.ReaderAt, size int64) (*Tags, error) {
	if size <= 0 {
		return nil, fmt.Errorf("%w: empty", ErrUnknown)
	}
	s := &source{r: r, size: size}
	defer s.free()
	t := &Tags{}
	raw := fields{}
	err := readAny(s, t, raw)
	if s.err != nil {
		return nil, fmt.Errorf("read tags: %w", s.err)
	}
	if err != nil {
		return nil, err
	}
	raw.fill(t)
	if t.BitRate == 0 && t.Duration > 0 {
		t.BitRate = perSecond(size, t.Duration)
	}
	return t, nil
}

func readAny(s *source, t *Tags, raw fields) error {
	head := s.peek(0, 16)
	switch {
	case len(head) < 4:
		return fmt.Errorf("%w: %d bytes", ErrUnknown, s.size)
	case string(head[:4]) == "fLaC":
		return readFLAC(s, 0, t, raw)
	case string(head[:4]) == "OggS":
		return readOgg(s, t, raw)
	case len(head) >= 12 && string(head[4:8]) == "ftyp":
		return readMP4(s, t, raw)
	case len(head) >= 12 && string(head[:4]) == "RIFF" && string(head[8:12]) == "WAVE":
		return readWAV(s, t, raw)
	case len(head) >= 12 && string(head[:4]) == "FORM" && (string(head[8:12]) == "AIFF" || string(head[8:12]) == "AIFC"):
		return readAIFF(s, t, raw)
	}
	after := int64(0)
	if string(head[:3]) == "ID3" {
		after = readID3v2(s, 0, s.size, t, raw)
		if string(s.peek(after, 4)) == "fLaC" {
			return readFLAC(s, after, t, raw)
		}
	}
	return readMPEG(s, after, t, raw)
}

// perSecond is the bit rate of n bytes over d.
func perSecond(n int64, d time.Duration) int {
	if d <= 0 || n <= 0 {
		return 0
	}
	return int(min(float64(n)*8/d.Seconds(), 1e9))
}

// seconds turns a count at a rate into a duration, at most 1000 hours: more is
// a lie of the header.
func seconds(count uint64, rate int) time.Duration {
	if rate <= 0 {
		return 0
	}
	const longest = 1000 * time.Hour
	f := float64(count) / float64(rate)
	if f > longest.Seconds() {
		return 0
	}
	return time.Duration(f * float64(time.Second))
}
