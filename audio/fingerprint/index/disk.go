package index

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/segue-music/segue/audio/fingerprint"
)

// flushItems is how many items are in memory at most, about 150 MB: then they become a segment.
const flushItems = 4 << 20

// maxJournal bounds the journal, in bytes: the same track may come and go.
const maxJournal = 16 * flushItems

// mergeFrom is how many segments may be of about one size: then they become one.
const mergeFrom = 8

// Disk is an Index in a folder. One process has it open at a time.
//
// What was inserted and removed before a Sync, Flush or Close that returned no error is there after a crash of the machine;
// what came later may be there as far as the first change that is missing.
type Disk struct {
	config Config
	dir    string
	lock   *os.File

	write    sync.Mutex // held by whoever changes the index
	mu       sync.RWMutex
	manifest manifest
	memory   memoryPart
	segments []*segment
	files    []*os.File // of segments
	journal  journal
	broken   error // after it nothing is changed any more
}

var _ Index = (*Disk)(nil)

// Open opens the index in dir, which it makes where it is missing. It fails with ErrConfig, also where the index was made
// with another Config.Sample, and with ErrCorrupt.
func Open(dir string, c Config) (*Disk, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	d := &Disk{config: c, dir: dir, memory: newMemoryPart()}
	if err := d.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open fingerprint index: %w", err), d.closeFiles())
	}
	return d, nil
}

func (d *Disk) open() (err error) {
	if d.lock, err = os.OpenFile(filepath.Join(d.dir, lockName), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	if err := syscall.Flock(int(d.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("another process has it open: %w", err)
	}
	m, found, err := readManifest(d.dir)
	if err != nil {
		return err
	}
	d.manifest = m
	if !found {
		if err := fresh(d.dir); err != nil {
			return err
		}
		d.manifest = manifest{Sample: d.config.Sample}
		return d.renew(d.manifest)
	}
	if m.Sample != d.config.Sample {
		return fmt.Errorf("%w: the index keeps one item in %d", ErrConfig, m.Sample)
	}
	if err := m.sweep(d.dir); err != nil {
		return err
	}
	for _, r := range m.Segments {
		if err := d.openSegment(r); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
	}
	if d.journal.file, err = os.OpenFile(filepath.Join(d.dir, m.Journal), os.O_RDWR, 0o600); err != nil {
		return err
	}
	return d.journal.replay(d.apply)
}

func (d *Disk) openSegment(r segmentRecord) error {
	file, err := os.Open(filepath.Join(d.dir, r.Name))
	if err != nil {
		return err
	}
	d.files = append(d.files, file)
	info, err := file.Stat()
	if err != nil {
		return err
	}
	s, err := openSegment(file, info.Size())
	if err != nil {
		return err
	}
	if int(s.header.sample) != d.config.Sample {
		return ErrCorrupt
	}
	for _, n := range r.Dead {
		if int(n) >= len(s.ids) {
			return ErrCorrupt
		}
		s.kill(int(n))
	}
	d.segments = append(d.segments, s)
	return nil
}

// apply changes what is in memory. No items mean that id is removed.
func (d *Disk) apply(id ID, fp fingerprint.Fingerprint) error {
	if len(fp) > 0 {
		if err := d.memory.insert(d.config, id, fp); err != nil {
			return err
		}
	} else {
		d.memory.remove(id)
		d.memory.compact(d.config)
	}
	for _, s := range d.segments {
		if n := s.find(id); n >= 0 {
			s.kill(n)
		}
	}
	return nil
}

// Insert implements Index. Where the memory is full it writes a segment first, which takes seconds; queries go on.
func (d *Disk) Insert(id ID, fp fingerprint.Fingerprint) error {
	if err := d.config.checkItems(fp); err != nil {
		return err
	}
	d.write.Lock()
	defer d.write.Unlock()
	if len(d.memory.all)+len(fp) > flushItems {
		if err := d.flush(); err != nil {
			return err
		}
	}
	if err := d.room(); err != nil {
		return err
	}
	if err := d.journal.insert(id, fp); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.apply(id, fp)
}

// Remove implements Index.
func (d *Disk) Remove(id ID) error {
	d.write.Lock()
	defer d.write.Unlock()
	if err := d.room(); err != nil {
		return err
	}
	if err := d.journal.remove(id); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.apply(id, nil)
}

// room begins a new journal where the old one is long.
func (d *Disk) room() error {
	if d.broken != nil || d.journal.size < maxJournal {
		return d.broken
	}
	return d.flush()
}

// Load inserts many fingerprints, with less work for each than Insert: they go into segments straight away. Where it fails,
// those of before that many may be there or not; Load them again. Their ids may not be kept yet, nor come twice: such a
// track is found twice, as either.
func (d *Disk) Load(all iter.Seq2[ID, fingerprint.Fingerprint]) error {
	d.write.Lock()
	defer d.write.Unlock()
	if err := d.flush(); err != nil {
		return err
	}
	part := memoryPart{starts: []uint32{0}}
	for id, fp := range all {
		if err := d.config.checkItems(fp); err != nil {
			return err
		}
		if len(part.all)+len(fp) > loadItems {
			if err := d.add(&part); err != nil {
				return err
			}
			part = memoryPart{starts: []uint32{0}, all: part.all[:0]}
		}
		part.all = append(part.all, fp...)
		part.ids, part.dead, part.starts = append(part.ids, id), append(part.dead, false), append(part.starts, uint32(len(part.all)))
	}
	return d.add(&part)
}

// loadItems is how many items Load sorts at a time, in about 20 bytes each where all are kept.
const loadItems = 48 << 20

// Query implements Index.
func (d *Disk) Query(fp fingerprint.Fingerprint) ([]Match, error) {
	if err := d.config.checkItems(fp); err != nil {
		return nil, err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	s := search{config: d.config, fp: fp, part: &d.memory, found: map[ID]Match{}}
	if err := s.run(); err != nil {
		return nil, err
	}
	for _, part := range d.segments {
		s.part = part
		if err := s.run(); err != nil {
			return nil, err
		}
	}
	return matches(s.found), nil
}

// Len implements Index.
func (d *Disk) Len() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	n := len(d.memory.byID)
	for _, s := range d.segments {
		n += s.live
	}
	return n
}

// Stats tells how large the index is.
type Stats struct {
	Segments int
	Tracks   int
	// Items and Postings are those of segments, removed ones as well.
	Items, Postings uint64
	// Bytes are those of the segments' files, ItemBytes what the items take of them: they are read when candidates are verified.
	Bytes, ItemBytes uint64
}

// Stats returns the present size.
func (d *Disk) Stats() Stats {
	tracks := d.Len()
	d.mu.RLock()
	defer d.mu.RUnlock()
	out := Stats{Segments: len(d.segments), Tracks: tracks}
	for _, s := range d.segments {
		out.Items += uint64(s.header.items)
		out.Postings += s.header.postings
		out.Bytes += uint64(s.header.directoryAt()) + entrySize<<s.header.bits
		out.ItemBytes += 4 * uint64(s.header.items)
	}
	return out
}

// Verify reads all segments and checks all that is in them. It fails with ErrCorrupt.
func (d *Disk) Verify() error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, s := range d.segments {
		if err := s.verify(); err != nil {
			return err
		}
	}
	return nil
}

// Close makes everything durable and closes the index.
func (d *Disk) Close() error {
	d.write.Lock()
	defer d.write.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	return errors.Join(d.broken, d.journal.file.Sync(), d.closeFiles())
}

func (d *Disk) closeFiles() error {
	var errs []error
	for _, f := range append([]*os.File{d.journal.file, d.lock}, d.files...) {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
