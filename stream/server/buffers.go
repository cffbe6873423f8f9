package server

// buffers are what one batch of a play needs: the records as they lie in the object, and the
// frames that go out. A play holds them only while it sends: most of the time it waits for
// credit, and a thousand waiting plays would hold 80 KB each.
type buffers struct{ read, out []byte }

// maxSpare bounds what is kept for the next play: a batch, not a rare large index.
const maxSpare = 4 * batchBytes

// hold makes sure that there are buffers.
func (p *play) hold() {
	if p.buf != nil {
		return
	}
	b, ok := p.c.s.spare.Get().(*buffers)
	if !ok {
		b = &buffers{}
	}
	b.out = b.out[:0]
	p.buf = b
}

// drop gives them back.
func (p *play) drop() {
	b := p.buf
	if p.buf = nil; cap(b.read) <= maxSpare && cap(b.out) <= maxSpare {
		p.c.s.spare.Put(b)
	}
}
