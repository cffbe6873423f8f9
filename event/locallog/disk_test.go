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
	"syscall"

	"github.com/segue-music/segue/event/locallog"
)

// disk keeps apart what was written and what was synced. Its process dies after some
// operations; then the power may be cut too, which keeps any part of what was not synced:
// of every file any of its sectors, of every folder any of its names, so that whatever the
// log did not wait for may have reached the disk in any order.
type disk struct {
	mu     sync.Mutex
	dirs   map[string]*folder
	synced map[string]bool // folders whose names are on the disk
	left   int             // operations until the process dies
	ignore locallog.Site   // syncs of this site do nothing
	sector int             // bytes that the disk writes as one, at multiples of it

	full   bool          // no room: ENOSPC for new bytes and new names
	broken locallog.Site // the next sync of this site is an EIO
	lie    bool          // that EIO is not told
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

func newDisk(ignore locallog.Site, sector int) *disk {
	return &disk{dirs: map[string]*folder{}, synced: map[string]bool{}, ignore: ignore, sector: sector}
}

// op is called with mu held.
func (d *disk) op() error {
	if d.left--; d.left < 0 {
		return errDead
	}
	return nil
}

// room is op for what needs space.
func (d *disk) room() error {
	if err := d.op(); err != nil {
		return err
	}
	if d.full {
		return syscall.ENOSPC
	}
	return nil
}

// breaks says that the sync of site fails now. The kernel has dropped what it could not
// write and would report the next sync as good.
func (d *disk) breaks(site locallog.Site) bool {
	if site != d.broken {
		return false
	}
	d.broken = ""
	return true
}

// told is the error of a sync that failed.
func (d *disk) told() error {
	if d.lie {
		return nil
	}
	return syscall.EIO
}

func always() bool { return true }

// apply does w to b, each sector of it only where take says so.
func (w write) apply(b []byte, sector int, take func() bool) []byte {
	if w.data == nil {
		if !take() {
			return b
		}
		if int64(len(b)) >= w.off {
			return b[:w.off]
		}
		return append(b, make([]byte, w.off-int64(len(b)))...)
	}
	for at, left := int(w.off), w.data; len(left) > 0; {
		part := left[:min(len(left), sector-at%sector)]
		if take() {
			b = grow(b, at+len(part))
			copy(b[at:], part)
		}
		at, left = at+len(part), left[len(part):]
	}
	return b
}

func grow(b []byte, to int) []byte {
	if to > len(b) {
		b = append(b, make([]byte, to-len(b))...)
	}
	return b
}

// cut is what a power cut leaves of the file: any sectors of what was pending, and any
// bytes in what the file grew by without its data.
func (n *inode) cut(r *rand.Rand, sector int, take func() bool) {
	b := n.synced
	for _, w := range n.pending {
		b = w.apply(b, sector, take)
	}
	if have := len(b); have < len(n.data) && take() {
		b = grow(b, len(n.data))
		if take() {
			for i := range b[have:] {
				b[have+i] = byte(r.Uint32())
			}
		}
	}
	n.synced, n.pending, n.data = b, nil, slices.Clone(b)
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
			now.cut(r, d.sector, take)
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
	if d.dirs[name] != nil {
		return d.op()
	}
	if err := d.room(); err != nil {
		return err
	}
	d.dirs[name] = &folder{map[string]*inode{}, map[string]*inode{}}
	return nil
}

func (d *disk) Create(name string) (locallog.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, file, err := d.at(name)
	if err = errors.Join(err, d.room()); err != nil {
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
	if err := errors.Join(err, err2, d.room()); err != nil {
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
	if d.breaks(site) {
		return d.told()
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

func (h *handle) change(w write) {
	h.n.data = w.apply(h.n.data, h.d.sector, always)
	h.n.pending = append(h.n.pending, w)
}

// WriteAt on a full disk writes a half.
func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	err := h.d.op()
	if err == nil && h.d.full && off+int64(len(p)) > int64(len(h.n.data)) {
		err = syscall.ENOSPC
	}
	if errors.Is(err, errDead) {
		return 0, err
	}
	if err != nil {
		p = p[:len(p)/2]
	}
	h.change(write{off, append([]byte{}, p...)})
	return len(p), err
}

func (h *handle) Truncate(size int64) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if err := h.d.op(); err != nil {
		return err
	}
	h.change(write{off: size})
	return nil
}

func (h *handle) Reserve(int64) {}

func (h *handle) Sync(site locallog.Site) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if err := h.d.op(); err != nil || site == h.d.ignore {
		return err
	}
	pending := h.n.pending
	h.n.pending = nil
	if h.d.breaks(site) {
		return h.d.told()
	}
	for _, w := range pending {
		h.n.synced = w.apply(h.n.synced, h.d.sector, always)
	}
	return nil
}
