package ffmpeg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	maxProbeOutput = 1 << 20
	maxProbeTags   = 256
	maxProbeValue  = 4096
)

// Probe is what ffprobe says about the first audio stream.
type Probe struct {
	// Format is ffprobe's name of the container, Codec that of the coding.
	Format, Codec  string
	Rate, Channels int
	// Duration and BitRate (bit/s) are 0 when unknown.
	Duration time.Duration
	BitRate  int
	// Tags have lower-case keys; those of the stream go before those of the
	// container. The values are as they stand, at most 4096 bytes, and hostile.
	Tags map[string]string
}

// Probe asks ffprobe. It costs far more than audio/tag and is for files that
// audio/tag does not know. Errors: ErrNotAudio, ErrKilled, ErrSandbox.
func (r *Runner) Probe(ctx context.Context, source *os.File) (*Probe, error) {
	if err := checkSource(source); err != nil {
		return nil, err
	}
	p, err := r.start(ctx, r.probe(r.cfg.FFprobe, probeArgs(), source))
	if err != nil {
		return nil, err
	}
	out, readErr := io.ReadAll(io.LimitReader(p.outputs[0], maxProbeOutput+1))
	if len(out) > maxProbeOutput {
		p.cancel()
		p.wait(ctx)
		return nil, &KilledError{Limit: LimitOutput, Detail: "ffprobe"}
	}
	end := p.wait(ctx)
	var exit *KilledError
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(end.err, &exit):
		return nil, exit
	case end.err != nil:
		return nil, fmt.Errorf("%w: %s", ErrNotAudio, end.stderr)
	case readErr != nil:
		return nil, fmt.Errorf("read ffprobe: %w", readErr)
	}
	return parseProbe(out)
}

type probeJSON struct {
	Streams []struct {
		Codec    string            `json:"codec_name"`
		Rate     string            `json:"sample_rate"`
		Channels int               `json:"channels"`
		Duration string            `json:"duration"`
		BitRate  string            `json:"bit_rate"`
		Tags     map[string]string `json:"tags"`
	} `json:"streams"`
	Format struct {
		Name     string            `json:"format_name"`
		Duration string            `json:"duration"`
		BitRate  string            `json:"bit_rate"`
		Tags     map[string]string `json:"tags"`
	} `json:"format"`
}

func parseProbe(b []byte) (*Probe, error) {
	var j probeJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return nil, fmt.Errorf("read ffprobe: %w", err)
	}
	if len(j.Streams) == 0 {
		return nil, fmt.Errorf("%w: no audio stream", ErrNotAudio)
	}
	s := j.Streams[0]
	out := &Probe{
		Format: j.Format.Name, Codec: s.Codec, Channels: s.Channels,
		Rate:     int(number(s.Rate)),
		BitRate:  int(number(s.BitRate)),
		Duration: time.Duration(number(s.Duration) * float64(time.Second)),
		Tags:     map[string]string{},
	}
	if out.BitRate == 0 {
		out.BitRate = int(number(j.Format.BitRate))
	}
	if out.Duration == 0 {
		out.Duration = time.Duration(number(j.Format.Duration) * float64(time.Second))
	}
	for _, tags := range []map[string]string{j.Format.Tags, s.Tags} {
		for k, v := range tags {
			if len(out.Tags) >= maxProbeTags || len(k) > 64 {
				continue
			}
			out.Tags[strings.ToLower(k)] = v[:min(len(v), maxProbeValue)]
		}
	}
	return out, nil
}

// number reads a decimal number within what any audio file can mean; anything
// else is 0, unknown.
func number(s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > 0 && f < 1e9) {
		return 0
	}
	return f
}
