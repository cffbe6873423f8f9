package ogg

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
)

const (
	// RecordMillis is the least audio of a record, in milliseconds. Only a
	// stream that is shorter as a whole has a shorter record.
	RecordMillis = 200
	// MaxRecordSize bounds the pages of one record, in bytes.
	MaxRecordSize = 1<<20 - 1024
	// MaxSetupSize bounds the header pages, in bytes.
	MaxSetupSize = 1 << 20
)

// Record is a group of whole pages that begins and ends between packets.
type Record struct {
	// Pages are the bytes of the pages as they stand in the file.
	Pages []byte
	// FirstSample is the position of the first sample that a running decoder
	// yields for the record, Samples how many it yields, per channel at the
	// stream's rate. FirstSample+Samples is the next record's FirstSample.
	FirstSample uint64
	Samples     uint32
	// JoinSample is the position of the first sample that a decoder yields when
	// it starts with this record: later than FirstSample, since its first packet
	// primes the overlap and yields none. It is 0 for the first record.
	JoinSample uint64
}

// Splitter cuts a Vorbis stream into records while it is read; it holds no more
// than two records in memory.
type Splitter struct {
	pages *Reader
	info  *Vorbis
	setup []byte

	serial, sequence uint32
	minimum          uint64

	pos      uint64 // granule after the last page
	started  bool   // a granule of an audio page has been seen
	prev     int    // block size of the last packet
	open     int    // block size of the packet that goes on, when inPacket
	inPacket bool
	last     bool
	cur      group
	held     *group
	err      error
}

// group is a record in the making.
type group struct {
	rec    Record
	pages  int
	joined bool // a packet has ended on one of its pages
	cut    bool // the first such page is the last of the stream
}

// NewSplitter reads the headers of r. It fails with ErrUnsupported when r is no
// Ogg Vorbis stream that stands alone.
func NewSplitter(r io.Reader) (*Splitter, error) {
	s := &Splitter{pages: NewReader(bufio.NewReaderSize(r, 64<<10))}
	if err := s.readSetup(); err != nil {
		return nil, err
	}
	s.minimum = uint64(s.info.Rate) * RecordMillis / 1000
	return s, nil
}

// Setup returns the header pages verbatim.
func (s *Splitter) Setup() []byte { return s.setup }

// Vorbis returns what the headers say.
func (s *Splitter) Vorbis() *Vorbis { return s.info }

// TotalSamples is the position after the last sample, per channel. It is final
// once Next has returned io.EOF.
func (s *Splitter) TotalSamples() uint64 { return s.pos }

func (s *Splitter) readSetup() error {
	var packets [][]byte
	var part []byte
	for len(packets) < 3 {
		p, err := s.pages.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: no Vorbis headers", ErrTruncated)
		}
		if err != nil {
			return err
		}
		if len(s.setup) == 0 {
			if !p.First {
				return fmt.Errorf("%w: stream does not begin with its first page", ErrUnsupported)
			}
			s.serial, s.sequence = p.Serial, p.Sequence
		} else if err := s.follow(p); err != nil {
			return err
		}
		if len(s.setup)+len(p.Raw) > MaxSetupSize {
			return fmt.Errorf("%w: headers over %d bytes", ErrTooLarge, MaxSetupSize)
		}
		if p.Continued != (part != nil) {
			return fmt.Errorf("%w: header packet broken off", ErrCorrupt)
		}
		s.setup = append(s.setup, p.Raw...)
		err = p.Packets(func(piece []byte, whole bool) error {
			part = append(part, piece...)
			if whole {
				packets, part = append(packets, part), nil
			} else if part == nil {
				part = []byte{}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(packets) > 0 && !isHeader(packets[0], 1) {
			return fmt.Errorf("%w: not Vorbis", ErrUnsupported)
		}
	}
	// Vorbis I, appendix A.2: audio begins on a page of its own.
	if len(packets) > 3 || part != nil {
		return fmt.Errorf("%w: audio on a header page", ErrUnsupported)
	}
	var err error
	s.info, err = ParseVorbis(packets[0], packets[1], packets[2])
	return err
}

// follow checks that p is the next page of the one stream.
func (s *Splitter) follow(p *Page) error {
	switch {
	case s.last && p.First:
		return fmt.Errorf("%w: chained streams", ErrUnsupported)
	case s.last:
		return fmt.Errorf("%w: pages after the last", ErrCorrupt)
	case p.First || p.Serial != s.serial:
		return fmt.Errorf("%w: several logical streams", ErrUnsupported)
	case p.Sequence != s.sequence+1:
		return fmt.Errorf("%w: page %d after page %d", ErrCorrupt, p.Sequence, s.sequence)
	}
	s.sequence = p.Sequence
	return nil
}

// Next returns the next record; its bytes are the caller's. After the last one
// it returns io.EOF.
func (s *Splitter) Next() (*Record, error) {
	for s.err == nil {
		p, err := s.pages.Next()
		if err != nil {
			s.err = err
			break
		}
		full, err := s.add(p)
		if err != nil {
			s.err = err
			break
		}
		if !full {
			continue
		}
		ready := s.held
		done := s.cur
		s.held, s.cur = &done, group{}
		if ready != nil {
			return &ready.rec, nil
		}
	}
	if !errors.Is(s.err, io.EOF) {
		return nil, s.err
	}
	return s.finish()
}

// finish deals with the end: a tail too short for a record of its own joins
// the one before. So does a single last page, whose granule position may be cut
// short (Vorbis I, appendix A.2): a client could not tell from it where a
// decoder that joins there stands.
func (s *Splitter) finish() (*Record, error) {
	if !s.last || s.inPacket {
		s.err = fmt.Errorf("%w: no last page", ErrTruncated)
		return nil, s.err
	}
	if s.held != nil && s.cur.pages > 0 && s.mustMerge(&s.cur) {
		s.held.rec.Pages = append(s.held.rec.Pages, s.cur.rec.Pages...)
		s.held.rec.Samples += s.cur.rec.Samples
		s.cur = group{}
		if len(s.held.rec.Pages) > MaxRecordSize {
			s.err = fmt.Errorf("%w: record over %d bytes", ErrTooLarge, MaxRecordSize)
			return nil, s.err
		}
	}
	if s.held != nil {
		rec := &s.held.rec
		s.held = nil
		return rec, nil
	}
	if s.cur.pages > 0 {
		rec := s.cur.rec
		s.cur = group{}
		return &rec, nil
	}
	return nil, io.EOF
}

func (s *Splitter) mustMerge(g *group) bool {
	return g.cut || uint64(g.rec.Samples) < s.minimum
}

// add takes a page into the current record and reports whether that is full.
func (s *Splitter) add(p *Page) (bool, error) {
	if err := s.follow(p); err != nil {
		return false, err
	}
	if p.Continued != s.inPacket {
		return false, fmt.Errorf("%w: packet broken off at page %d", ErrCorrupt, p.Sequence)
	}
	g := &s.cur
	if g.pages == 0 {
		g.rec.FirstSample, g.rec.JoinSample = s.pos, s.pos
	}
	samples, joined, ended := s.measure(p)
	start := s.pos
	if err := s.place(p, samples, ended); err != nil {
		return false, err
	}
	if !g.joined && ended {
		g.joined, g.cut = true, p.Last
		// What a joining decoder yields for this page ends where the page ends; a
		// cut at the end takes samples from the end only.
		g.rec.JoinSample = min(start+uint64(samples-joined), s.pos)
		if start == 0 {
			g.rec.JoinSample = 0
		}
	}
	if len(g.rec.Pages)+len(p.Raw) > MaxRecordSize || s.pos-g.rec.FirstSample > math.MaxUint32 {
		return false, fmt.Errorf("%w: record over %d bytes", ErrTooLarge, MaxRecordSize)
	}
	g.rec.Pages = append(g.rec.Pages, p.Raw...)
	g.rec.Samples = uint32(s.pos - g.rec.FirstSample)
	g.pages++
	s.last = p.Last
	// The last page never fills a record by itself: finish decides.
	return !p.Last && !s.inPacket && uint64(g.rec.Samples) >= s.minimum, nil
}

// measure adds up what the packets that end on p yield: to a running decoder,
// and to one that starts with this page.
func (s *Splitter) measure(p *Page) (running, joining int, ended bool) {
	fresh := 0
	first := true
	// The callback returns no error.
	_ = p.Packets(func(piece []byte, whole bool) error {
		if !first || !p.Continued {
			s.open = s.info.PacketBlock(piece)
		}
		first = false
		s.inPacket = !whole
		if !whole {
			return nil
		}
		ended = true
		if s.open != 0 {
			running += Overlap(s.prev, s.open)
			joining += Overlap(fresh, s.open)
			s.prev, fresh = s.open, s.open
		}
		return nil
	})
	return running, joining, ended
}

// place moves the position by the page and holds it against the granule.
func (s *Splitter) place(p *Page, samples int, ended bool) error {
	if p.Granule == NoGranule {
		if ended {
			return fmt.Errorf("%w: page %d has no granule position", ErrCorrupt, p.Sequence)
		}
		return nil
	}
	if p.Granule < 0 || uint64(p.Granule) < s.pos {
		return fmt.Errorf("%w: granule position %d of page %d", ErrCorrupt, p.Granule, p.Sequence)
	}
	want, got := s.pos+uint64(samples), uint64(p.Granule)
	switch {
	case got == want:
	case p.Last && got < want: // the end is cut
	case !s.started && got < want: // the start is cut
	default:
		return fmt.Errorf("%w: granule position %d of page %d, expected %d", ErrCorrupt, got, p.Sequence, want)
	}
	s.started = s.started || ended
	s.pos = got
	return nil
}
