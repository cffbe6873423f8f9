package seed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

// source is one piece of music, encoded.
type source struct {
	ogg map[int][]byte // by kbit/s
}

// skipSeconds of a file come before: music may begin softly.
const skipSeconds = 10

// sources encodes what the cache does not have yet. Each is a few seconds longer than
// the one before, so that tracks do not end together.
func (o *Options) sources(ctx context.Context) ([]source, error) {
	if err := os.MkdirAll(o.Cache, 0o750); err != nil {
		return nil, fmt.Errorf("make cache: %w", err)
	}
	longest := o.Seconds * 5 / 4
	files, err := o.files(ctx, longest+skipSeconds)
	if err != nil {
		return nil, err
	}
	out := make([]source, o.Sources)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for i := range out {
		out[i].ogg = map[int][]byte{}
		seconds := o.Seconds + i*(longest-o.Seconds)/o.Sources
		file := ""
		if len(files) > 0 {
			file = files[i%len(files)]
		}
		g.Go(func() error {
			for _, kbps := range o.Kbps {
				b, err := o.encoded(ctx, file, i, seconds, kbps)
				if err != nil {
					return err
				}
				out[i].ogg[kbps] = b
			}
			return nil
		})
	}
	return out, g.Wait()
}

// encoded is a source at a bit rate, from the cache or by ffmpeg with the arguments of
// the pipeline: pages of 250 ms.
func (o *Options) encoded(ctx context.Context, file string, i, seconds, kbps int) ([]byte, error) {
	name := "mix"
	if file != "" {
		name = strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
				return r
			}
			return '_'
		}, strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)))
	}
	path := filepath.Join(o.Cache, fmt.Sprintf("%s-%d-%ds-%dk.ogg", name, i, seconds, kbps))
	b, err := readAll(path)
	if err == nil {
		return b, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read source: %w", err)
	}
	o.Say("encoding a source of %d s at %d kbit/s", seconds, kbps)
	in := []string{"-f", "lavfi", "-i", fmt.Sprintf(
		"aevalsrc='0.25*sin(2*PI*%d*t)+0.2*sin(2*PI*%d*t*(1+0.01*sin(t)))+0.15*(random(0)-0.5)|0.25*sin(2*PI*%d*t)+0.15*(random(1)-0.5)':s=44100:d=%d",
		110+7*i, 330+11*i, 220+5*i, seconds)}
	if file != "" {
		in = []string{"-ss", strconv.Itoa(skipSeconds), "-t", strconv.Itoa(seconds), "-i", file}
	}
	part := fmt.Sprintf("%s.%d.part", path, os.Getpid())
	// Time stamps are counted anew: a cut begins between two of the source's.
	args := append([]string{"-v", "error", "-nostdin", "-y"}, in...)
	args = append(args, "-map", "0:a:0", "-map_metadata", "-1", "-filter:a", "asettb=1/sr,asetpts=N", "-fflags", "+bitexact", "-flags:a", "+bitexact", "-ac", "2", "-ar", "44100",
		"-c:a", "libvorbis", "-b:a", strconv.Itoa(kbps)+"k", "-page_duration", "250000", "-f", "ogg")
	if kbps == 24 {
		args = append(args, "-ac", "1", "-ar", "22050", "-minrate", "24k", "-maxrate", "24k")
	}
	args = append(args, part)
	if out, err := exec.CommandContext(ctx, "ffmpeg", args...).CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("encode source: %w: %.300s", err, out), os.Remove(part))
	}
	if err := os.Rename(part, path); err != nil {
		return nil, fmt.Errorf("keep source: %w", err)
	}
	return readAll(path)
}

// files are the largest audio files of the folder that are long enough, by name.
func (o *Options) files(ctx context.Context, seconds int) ([]string, error) {
	if o.Music == "" {
		return nil, nil
	}
	var all []string
	err := filepath.WalkDir(o.Music, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		switch strings.ToLower(filepath.Ext(path)) {
		case ".ogg", ".flac", ".mp3", ".wav", ".opus", ".m4a":
			all = append(all, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for music: %w", err)
	}
	slices.Sort(all)
	var out []string
	for _, path := range all {
		if len(out) == o.Sources {
			break
		}
		b, err := exec.CommandContext(ctx, "ffprobe", "-v", "quiet", "-show_entries", "format=duration", "-of", "default=nw=1:nk=1", path).Output()
		if err != nil {
			continue // no audio that ffmpeg reads
		}
		if s, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64); err == nil && s > float64(seconds) {
			out = append(out, path)
		}
	}
	return out, nil
}
