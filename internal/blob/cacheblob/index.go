package cacheblob

import (
	"container/list"
	"sync"
	"time"
)

const (
	// headShare is the part of the disk that heads may have while bodies want it: one of
	// headShare.
	headShare = 4
	// freshShare is the part of the fresh chunks: one of freshShare.
	freshShare = 10
	// usesMost is how many uses count for a chunk: each is one more round of the kept.
	usesMost = 15
	// useEvery: what reads a chunk within that time of another is one use with it. A play
	// reads a chunk in several goes.
	useEvery = 30 * time.Second
)

// index is what lies on the disk. Heads and bodies each have two queues (S3-FIFO: Yang et
// al., FIFO queues are all you need for cache eviction, SOSP 2023): a chunk comes into
// the fresh one, and when it leaves that it is forgotten, unless it was used meanwhile:
// then it is kept, for as many rounds as it is used. What everybody hears once pushes out
// its like, and not what is heard again and again.
type index struct {
	most int64
	now  func() time.Time

	mu      sync.Mutex
	objects map[string]*object
	classes [2]class // bodies, heads
	bytes   int64
}

const (
	bodies = iota
	heads
)

type class struct{ fresh, kept queue }

func (c *class) bytes() int64 { return c.fresh.bytes + c.kept.bytes }

// queue has the newest in front.
type queue struct {
	list.List
	bytes int64
}

type object struct {
	size   int64
	chunks map[uint32]*chunk
}

type chunk struct {
	chunkID
	size int64 // of its object

	sound bool // it has been read whole and compared with its checksum
	uses  int
	used  time.Time
	in    *queue
	place *list.Element
}

func (c *chunk) len() int64 { return chunkLen(c.size, c.n) }

func newIndex(most int64, now func() time.Time) *index {
	return &index{most: most, now: now, objects: map[string]*object{}}
}

// find is a chunk that is here, or nil; mu is held.
func (x *index) find(id chunkID) *chunk {
	if o := x.objects[id.object]; o != nil {
		return o.chunks[id.n]
	}
	return nil
}

// size is that of an object of which the head is here.
func (x *index) size(name string) (int64, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.find(chunkID{name, 0})
	if c == nil {
		return 0, false
	}
	return c.size, true
}

// touch notes a use of a chunk that is here; sound says that it need not be checked.
func (x *index) touch(id chunkID) (known, sound bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.find(id)
	if c == nil {
		return false, false
	}
	if now := x.now(); now.Sub(c.used) >= useEvery || now.Before(c.used) {
		c.used, c.uses = now, min(c.uses+1, usesMost)
	}
	return true, c.sound
}

// checked notes that a chunk is as it was written.
func (x *index) checked(id chunkID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c := x.find(id); c != nil {
		c.sound = true
	}
}

func (x *index) class(id chunkID) *class {
	if id.head() {
		return &x.classes[heads]
	}
	return &x.classes[bodies]
}

// add notes a chunk that was written now, or found by an earlier process.
func (x *index) add(c *chunk) {
	x.mu.Lock()
	defer x.mu.Unlock()
	o := x.objects[c.object]
	if o == nil {
		o = &object{size: c.size, chunks: map[uint32]*chunk{}}
		x.objects[c.object] = o
	}
	if o.chunks[c.n] != nil {
		return
	}
	o.chunks[c.n] = c
	c.used = x.now() // by whom it came for
	x.bytes += c.len()
	c.enter(&x.class(c.chunkID).fresh)
}

func (c *chunk) enter(q *queue) {
	c.in, c.place = q, q.PushFront(c)
	q.bytes += c.len()
}

func (c *chunk) leave() {
	c.in.Remove(c.place)
	c.in.bytes -= c.len()
}

// over takes out what is over the bound, to be removed.
func (x *index) over() (out []*chunk) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.bytes > x.most {
		from := &x.classes[bodies]
		if from.bytes() == 0 || x.classes[heads].bytes() > x.most/headShare {
			from = &x.classes[heads]
		}
		c := from.oldest()
		if c == nil {
			break
		}
		x.take(c)
		out = append(out, c)
	}
	return out
}

// oldest is the chunk of a class that has to go next; nil where there is none.
func (c *class) oldest() *chunk {
	for {
		q := &c.kept
		if c.kept.Len() == 0 || c.fresh.bytes*freshShare > c.bytes() {
			q = &c.fresh
		}
		e := q.Back()
		if e == nil {
			return nil
		}
		last, _ := e.Value.(*chunk)
		if last.uses == 0 {
			return last
		}
		last.leave()
		last.enter(&c.kept)
		if last.uses--; q == &c.fresh {
			last.uses = 0 // they have brought it here
		}
	}
}

// take forgets a chunk; mu is held.
func (x *index) take(c *chunk) {
	c.leave()
	x.bytes -= c.len()
	o := x.objects[c.object]
	if delete(o.chunks, c.n); len(o.chunks) == 0 {
		delete(x.objects, c.object)
	}
}

// dropChunk forgets a chunk, drop all of an object; what they return is to be removed.
func (x *index) dropChunk(id chunkID) []*chunk {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.find(id)
	if c == nil {
		return nil
	}
	x.take(c)
	return []*chunk{c}
}

func (x *index) drop(name string) (out []*chunk) {
	x.mu.Lock()
	defer x.mu.Unlock()
	o := x.objects[name]
	if o == nil {
		return nil
	}
	for _, c := range o.chunks {
		out = append(out, c)
	}
	for _, c := range out {
		x.take(c)
	}
	return out
}

// held is what lies on the disk, in bytes and chunks.
func (x *index) held() (bytes int64, chunks int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range x.classes {
		chunks += x.classes[i].fresh.Len() + x.classes[i].kept.Len()
	}
	return x.bytes, chunks
}
