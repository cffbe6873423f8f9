package locallog_test

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/segue-music/segue/event/locallog"
)

// disk keeps apart what was written and what was synced. Its process dies after some
// operations; then the power may be cut too, which keeps any part of what was not synced.
type disk struct {
	mu     sync.Mutex
	dirs   map[string]*folder
	synced map[string]bool // folders whose names are on the disk
	left   int             // operations until the process dies
	ignore locallog.Site   // syncs of this site do nothing
}

type folder struct{ now, synced map[string]*inode }

type inode struct {
	data, synced []byte
	pending      []write
}

// write of data at off; a truncation to off where data is nil.
type write struct {
	off  int64
	data []byte
}

var errDead = errors.New("the process is dead")

func newDisk(ignore locallog.Site) *disk {
	return &disk{dirs: map[string]*folder{}, synced: map[string]bool{}, ignore: ignore}
}

// op is called with mu held.
func (d *disk) op() error {
	if d.left--; d.left < 0 {
		return errDead
	}
	return nil
}

const sector = 64

func (w write) apply(b []byte, take func() bool) []byte {
	if w.data == nil {
		if !take() {
			return b
		}
		if int64(len(b)) >= w.off {
			return b[:w.off]
		}
		return append(b, make([]byte, w.off-int64(len(b)))...)
	}
	for i := 0; i < len(w.data); i += sector {
		if !take() {
			continue
		}
		part := w.data[i:min(i+sector, len(w.data))]
		at := int(w.off) + i
		if need := at + len(part); need > len(b) {
			b = append(b, make([]byte, need-len(b))...)
		}
		copy(b[at:], part)
	}
	return b
}

// cutPower keeps what was synced and a random part of the rest.
func (d *disk) cutPower(r *rand.Rand) {
	take := func() bool { return r.IntN(2) == 0 }
	for _, name := range slices.Sorted(maps.Keys(d.dirs)) {
		if !d.synced[name] && !take() {
			delete(d.dirs, name)
			continue
		}
		d.synced[name] = true
		f := d.dirs[name]
		all := maps.Clone(f.synced)
		maps.Copy(all, f.now)
		for _, file := range slices.Sorted(maps.Keys(all)) {
			now, before := f.now[file], f.synced[file]
			if now != before && take() {
				now = before
			}
			if now == nil {
				delete(f.now, file)
				continue
			}
			f.now[file] = now
			for _, w := range now.pending {
				now.synced = w.apply(now.synced, take)
			}
			now.pending, now.data = nil, slices.Clone(now.synced)
		}
		f.synced = maps.Clone(f.now)
	}
}

func (d *disk) at(name string) (*folder, string, error) {
	dir, file := path.Split(name)
	f, ok := d.dirs[strings.TrimSuffix(dir, "/")]
	if !ok {
		return nil, "", fs.ErrNotExist
	}
	return f, file, nil
}

func (d *disk) Mkdir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dirs[name] == nil {
		d.dirs[name] = &folder{map[string]*inode{}, map[string]*inode{}}
	}
	return d.op()
}

func (d *disk) Create(name string) (locallog.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, file, err := d.at(name)
	if err = errors.Join(err, d.op()); err != nil {
		return nil, err
	}
	n := f.now[file]
	if n == nil {
		n = &inode{}
		f.now[file] = n
	}
	n.data, n.pending = nil, append(n.pending, write{})
	return &handle{d, n}, nil
}

func (d *disk) Open(name string) (locallog.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, file, err := d.at(name)
	if err != nil {
		return nil, err
	}
	n := f.now[file]
	if n == nil {
		return nil, fs.ErrNotExist
	}
	return &handle{d, n}, nil
}

func (d *disk) List(dir string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.dirs[dir].now)), nil
}

func (d *disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, a, err := d.at(from)
	_, b, err2 := d.at(to)
	if err := errors.Join(err, err2, d.op()); err != nil {
		return err
	}
	f.now[b] = f.now[a]
	delete(f.now, a)
	return nil
}

func (d *disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, file, err := d.at(name)
	if err = errors.Join(err, d.op()); err == nil {
		delete(f.now, file)
	}
	return err
}

func (d *disk) SyncDir(dir string, site locallog.Site) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op(); err != nil || site == d.ignore {
		return err
	}
	if dir == "." {
		for name := range d.dirs {
			d.synced[name] = true
		}
		return nil
	}
	d.dirs[dir].synced = maps.Clone(d.dirs[dir].now)
	return nil
}

func (d *disk) Close() error { return nil }

type handle struct {
	d *disk
	n *inode
}

func (h *handle) Close() error { return nil }

func (h *handle) Size() (int64, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	return int64(len(h.n.data)), nil
}

func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if off >= int64(len(h.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, h.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) change(w write) error {
	if err := h.d.op(); err != nil {
		return err
	}
	h.n.data = w.apply(h.n.data, func() bool { return true })
	h.n.pending = append(h.n.pending, w)
	return nil
}

func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if err := h.change(write{off, slices.Clone(p)}); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (h *handle) Truncate(size int64) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	return h.change(write{off: size})
}

func (h *handle) Sync(site locallog.Site) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if err := h.d.op(); err != nil || site == h.d.ignore {
		return err
	}
	h.n.synced, h.n.pending = slices.Clone(h.n.data), nil
	return nil
}
