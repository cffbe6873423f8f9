package fingerprint

import "math"

// integral has in [x][y] the sum of rows before x and notes before y, so that the sum of any rectangle is four look-ups
// (Viola and Jones, "Rapid Object Detection using a Boosted Cascade of Simple Features", 2001).
type integral [window + 1][notes + 1]float64

// area is the sum of rows from x to x2 and notes from y to y2, each without the last.
func (m *integral) area(x, y, x2, y2 int) float64 {
	return m[x2][y2] - m[x][y2] - m[x2][y] + m[x][y]
}

// shape tells which parts of a rectangle are set against which.
type shape uint8

const (
	whole        shape = iota // all of it against nothing
	upperLower                // high notes against low ones
	lateEarly                 // later rows against earlier ones
	diagonal                  // two opposite quarters against the other two
	middleNotes               // the middle third of the notes against the rest
	middleFrames              // the middle third of the rows against the rest
)

// classifier gives two bits of an item: it compares parts of a rectangle, which begins at the first row and at a note, and
// tells in which of the four ranges between limits their ratio lies.
type classifier struct {
	shape               shape
	note, height, width int
	limits              [3]float64
}

// classifiers are what training chose for TEST2, in the order of the bits. They define the format.
var classifiers = [16]classifier{
	{whole, 4, 3, 15, [3]float64{1.98215, 2.35817, 2.63523}},
	{middleNotes, 4, 6, 15, [3]float64{-1.03809, -0.651211, -0.282167}},
	{upperLower, 0, 4, 16, [3]float64{-0.298702, 0.119262, 0.558497}},
	{diagonal, 8, 2, 12, [3]float64{-0.105439, 0.0153946, 0.135898}},
	{diagonal, 4, 4, 8, [3]float64{-0.142891, 0.0258736, 0.200632}},
	{middleNotes, 0, 3, 5, [3]float64{-0.826319, -0.590612, -0.368214}},
	{upperLower, 2, 2, 9, [3]float64{-0.557409, -0.233035, 0.0534525}},
	{lateEarly, 7, 3, 4, [3]float64{-0.0646826, 0.00620476, 0.0784847}},
	{lateEarly, 6, 2, 16, [3]float64{-0.192387, -0.029699, 0.215855}},
	{lateEarly, 1, 3, 2, [3]float64{-0.0397818, -0.00568076, 0.0292026}},
	{middleFrames, 10, 1, 15, [3]float64{-0.53823, -0.369934, -0.190235}},
	{diagonal, 6, 2, 10, [3]float64{-0.124877, 0.0296483, 0.139239}},
	{lateEarly, 1, 1, 14, [3]float64{-0.101475, 0.0225617, 0.231971}},
	{diagonal, 5, 6, 4, [3]float64{-0.0799915, -0.00729616, 0.063262}},
	{upperLower, 9, 2, 12, [3]float64{-0.272556, 0.019424, 0.302559}},
	{diagonal, 4, 2, 14, [3]float64{-0.164292, -0.0321188, 0.0846339}},
}

// ratio is the logarithm of what one part has over what the other has, one added to both.
func (c *classifier) ratio(m *integral) float64 {
	w, y, y2 := c.width, c.note, c.note+c.height
	var a, b float64
	switch c.shape {
	case whole:
		a = m.area(0, y, w, y2)
	case upperLower:
		mid := y + c.height/2
		a, b = m.area(0, mid, w, y2), m.area(0, y, w, mid)
	case lateEarly:
		a, b = m.area(w/2, y, w, y2), m.area(0, y, w/2, y2)
	case diagonal:
		mid := y + c.height/2
		a = m.area(0, mid, w/2, y2) + m.area(w/2, y, w, mid)
		b = m.area(0, y, w/2, mid) + m.area(w/2, mid, w, y2)
	case middleNotes:
		third := c.height / 3
		a = m.area(0, y+third, w, y+2*third)
		b = m.area(0, y, w, y+third) + m.area(0, y+2*third, w, y2)
	case middleFrames:
		third := w / 3
		a = m.area(third, y, 2*third, y2)
		b = m.area(0, y, third, y2) + m.area(2*third, y, w, y2)
	}
	return math.Log((1 + a) / (1 + b))
}

// classify returns the range as a Gray code: neighbours differ in one bit.
func (c *classifier) classify(m *integral) uint32 {
	gray := [4]uint32{0, 1, 3, 2}
	v, i := c.ratio(m), 0
	for i < len(c.limits) && v >= c.limits[i] {
		i++
	}
	return gray[i]
}
