package dsp

// Frames cuts a stream of samples into frames of one length that overlap.
type Frames struct {
	length, hop int
	past        []float64
}

// NewFrames makes frames of length samples, one each hop samples, 1 to length.
func NewFrames(length, hop int) *Frames {
	return &Frames{length: length, hop: min(max(hop, 1), length), past: make([]float64, 0, 2*length)}
}

// Write takes samples in pieces of any length and calls each with every frame that is
// complete. Frame n begins with sample n × hop. It is valid until the call returns.
func (f *Frames) Write(in []float64, each func(frame []float64)) {
	for len(in) > 0 {
		n := min(len(in), cap(f.past)-len(f.past))
		f.past = append(f.past, in[:n]...)
		in = in[n:]
		x := f.past
		for ; len(x) >= f.length; x = x[f.hop:] {
			each(x[:f.length])
		}
		f.past = append(f.past[:0], x...)
	}
}
