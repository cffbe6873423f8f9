package player

import (
	"time"

	"github.com/segue-music/segue/cmd/seguectl/internal/pcm"
	"github.com/segue-music/segue/stream/client"
)

// cut keeps of a decoder's output exactly what was asked for: it drops what lies before
// the target, and what a decoder gives past the end. It counts frames of the line; those
// of a track at another rate are scaled, so that they begin and end at the same instants.
type cut struct {
	rate  uint64 // of the track
	start uint64 // samples of the track before what was asked for
	drop  uint64 // frames still to be dropped
	given uint64 // frames given to the line
	need  uint64 // frames in all
	// padded are those of given that are silence in the place of what was not decoded.
	padded uint64
	length uint64 // samples of the track
}

func newCut(st *client.Stream) *cut {
	h := st.Head()
	c := &cut{rate: h.Rate, length: h.TotalSamples}
	c.start = min(h.FirstSample+st.Skip(), h.TotalSamples)
	c.drop = c.frames(c.start) - c.frames(h.FirstSample)
	c.need = c.frames(h.TotalSamples) - c.frames(c.start)
	return c
}

func (c *cut) frames(samples uint64) uint64 { return samples * pcm.Rate / c.rate }

// samples is the inverse of frames.
func (c *cut) samples(frames uint64) uint64 {
	if frames == c.need {
		return c.length - c.start // without the error of rounding
	}
	return frames * c.rate / pcm.Rate
}

// left is how many frames the line still needs.
func (c *cut) left() uint64 { return c.need - c.given }

// take gives the part of the decoder's output that is wanted.
func (c *cut) take(sound []byte) []byte {
	frames := uint64(len(sound) / pcm.FrameSize)
	dropped := min(c.drop, frames)
	c.drop -= dropped
	sound = sound[dropped*pcm.FrameSize:]
	return sound[:min(frames-dropped, c.left())*pcm.FrameSize]
}

// heard is the sound given to the output.
func (c *cut) heard() time.Duration { return pcm.Duration(c.given) }

// position is where the next frame belongs in the track, total the length of the track.
func (c *cut) position() time.Duration { return pcm.Duration(c.frames(c.start) + c.given) }

func (c *cut) total() time.Duration { return pcm.Duration(c.frames(c.length)) }
