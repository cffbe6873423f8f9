package index

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
)

// Sync makes durable what was inserted and removed.
func (d *Disk) Sync() error {
	d.write.Lock()
	defer d.write.Unlock()
	if d.broken != nil {
		return d.broken
	}
	// After a sync that failed nobody knows what of the file is on disk.
	d.broken = d.journal.file.Sync()
	return d.broken
}

// Flush writes what is in memory into a segment.
func (d *Disk) Flush() error {
	d.write.Lock()
	defer d.write.Unlock()
	return d.flush()
}

// Merge writes all segments into one, without what was removed; those that would be too large together stay apart. It takes
// about a minute for a thousand million postings, needs as much disk again for that long, and queries go on meanwhile.
func (d *Disk) Merge() error {
	d.write.Lock()
	defer d.write.Unlock()
	if err := d.flush(); err != nil {
		return err
	}
	for i := 0; i < len(d.segments); {
		n, items := i, uint64(0)
		for n < len(d.segments) && items+uint64(d.segments[n].header.items) <= maxPositions {
			items += uint64(d.segments[n].header.items)
			n++
		}
		if n-i > 1 || d.segments[i].live < len(d.segments[i].ids) {
			if err := d.merge(i, n); err != nil {
				return err
			}
		}
		i++
	}
	return nil
}

// flush is Flush. The caller holds write, so that nothing in memory changes while it is written.
func (d *Disk) flush() error {
	if d.broken != nil {
		return d.broken
	}
	if len(d.memory.byID) == 0 {
		return d.forget()
	}
	if err := d.add(&d.memory); err != nil {
		return err
	}
	return d.settle()
}

// add writes a part into a segment. What the journal says of it is void then.
func (d *Disk) add(part *memoryPart) error {
	if len(part.ids) == 0 {
		return nil
	}
	if len(d.segments) == maxSegments {
		return ErrFull
	}
	next := d.manifest
	record := segmentRecord{Name: next.name(segmentEnd)}
	err := d.create(record.Name, func(f *os.File) error { return writeParts(f, d.config, part) })
	if err != nil {
		return err
	}
	next.Segments = append(d.records(), record)
	return d.swap(next, len(d.segments), 0, record)
}

// settle merges the last segments where many are of about one size.
func (d *Disk) settle() error {
	sum := uint64(0)
	for i := len(d.segments) - 1; i >= 0; i-- {
		items := uint64(d.segments[i].header.items)
		if n := len(d.segments) - i; n > mergeFrom && items > sum {
			return d.merge(i+1, len(d.segments))
		}
		if sum += items; sum > maxPositions {
			return nil
		}
	}
	if len(d.segments) > mergeFrom {
		return d.merge(0, len(d.segments))
	}
	return nil
}

// merge writes segments from one on to another into one.
func (d *Disk) merge(from, to int) error {
	next := d.manifest
	record := segmentRecord{Name: next.name(segmentEnd)}
	err := d.create(record.Name, func(f *os.File) error { return writeMerged(f, d.config, d.segments[from:to]) })
	if err != nil {
		return err
	}
	next.Segments = slices.Replace(d.records(), from, to, record)
	return d.swap(next, from, to-from, record)
}

// create writes a new file, and removes it where that fails.
func (d *Disk) create(name string, write func(*os.File) error) error {
	path := filepath.Join(d.dir, name)
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := errors.Join(write(file), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// records tells of the segments as they are now.
func (d *Disk) records() []segmentRecord {
	out := slices.Clone(d.manifest.Segments)
	for i, s := range d.segments {
		out[i].Dead = nil
		for n, dead := range s.dead {
			if dead {
				out[i].Dead = append(out[i].Dead, uint32(n))
			}
		}
	}
	return out
}

// swap puts a segment in the place of n others, and of what is in memory: a new journal begins.
func (d *Disk) swap(next manifest, at, n int, record segmentRecord) error {
	single := Disk{config: d.config, dir: d.dir}
	if err := single.openSegment(record); err != nil {
		return errors.Join(err, single.closeFiles(), os.Remove(filepath.Join(d.dir, record.Name)))
	}
	gone := slices.Clone(d.files[at : at+n])
	if err := d.renew(next); err != nil {
		return errors.Join(err, single.closeFiles())
	}
	d.mu.Lock()
	d.segments = slices.Replace(slices.Clone(d.segments), at, at+n, single.segments[0])
	d.files = slices.Replace(slices.Clone(d.files), at, at+n, single.files[0])
	if n == 0 {
		d.memory = newMemoryPart()
	}
	d.mu.Unlock()
	var errs []error
	for _, f := range gone {
		errs = append(errs, f.Close(), os.Remove(f.Name()))
	}
	return errors.Join(errs...)
}

// forget begins a new journal where the old one has only what was removed since.
func (d *Disk) forget() error {
	if d.journal.size == 0 {
		return nil
	}
	next := d.manifest
	next.Segments = d.records()
	if err := d.renew(next); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.memory = newMemoryPart()
	return nil
}

// renew begins an empty journal and makes next the manifest that names it.
func (d *Disk) renew(next manifest) error {
	name := next.name(journalEnd)
	path := filepath.Join(d.dir, name)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	next.Journal = name
	if err := errors.Join(file.Sync(), next.write(d.dir)); err != nil {
		// Nobody knows which manifest a next start finds, so nothing may be promised any more.
		d.broken = errors.Join(err, file.Close())
		return d.broken
	}
	old := d.journal.file
	d.manifest, d.journal = next, journal{file: file}
	if old == nil {
		return nil
	}
	return errors.Join(old.Close(), os.Remove(old.Name()))
}
