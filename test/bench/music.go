package main

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
	"sync"
)

// trackSeconds is long enough that a download at the link's rate still runs when the
// listener seeks.
const trackSeconds = 120

// skipSeconds of real music come before: it may begin softly.
const skipSeconds = 30

// Folders of the run.
const (
	sourceDir = "music" // what segue takes in
	peerDir   = "peers" // the same, as the peers have it
)

// title is that of a track, by which it is found again in the catalogue.
func title(i int) string { return fmt.Sprintf("Bench %03d", i) }

// makeMusic cuts the tracks from the middle of real music, where it is not silent, or makes
// loud ones, and encodes them for the peers.
func makeMusic(ctx context.Context, o *options, dir string) error {
	sources, err := longFiles(ctx, o.music, o.tracks)
	if err != nil {
		return err
	}
	for _, d := range []string{sourceDir, peerDir} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	errs := make([]error, o.tracks)
	var wg sync.WaitGroup
	gate := make(chan struct{}, 2)
	for i := range o.tracks {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			source := ""
			if len(sources) > 0 {
				source = sources[i%len(sources)]
			}
			errs[i] = makeTrack(ctx, dir, i, source)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// longFiles are the largest audio files of a folder that are long enough, n at most.
func longFiles(ctx context.Context, dir string, n int) ([]string, error) {
	if dir == "" {
		return nil, nil
	}
	type file struct {
		path string
		size int64
	}
	var all []file
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		switch strings.ToLower(filepath.Ext(path)) {
		case ".ogg", ".flac", ".mp3", ".wav", ".opus", ".m4a":
			info, err := d.Info()
			if err != nil {
				return err
			}
			all = append(all, file{path, info.Size()})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for music: %w", err)
	}
	slices.SortFunc(all, func(a, b file) int { return int(b.size - a.size) })
	var out []string
	for _, f := range all {
		if len(out) < n && seconds(ctx, f.path) > trackSeconds+skipSeconds {
			out = append(out, f.path)
		}
	}
	return out, nil
}

// seconds is the length of a file, 0 where it cannot be read.
func seconds(ctx context.Context, path string) float64 {
	out, err := exec.CommandContext(ctx, "ffprobe", "-v", "quiet", "-show_entries", "format=duration", "-of", "default=nw=1:nk=1", path).Output()
	if err != nil {
		return 0
	}
	s, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		return 0
	}
	return s
}

func makeTrack(ctx context.Context, dir string, i int, source string) error {
	flac := filepath.Join(dir, sourceDir, fmt.Sprintf("%03d.flac", i))
	peer := filepath.Join(dir, peerDir, fmt.Sprint(i))
	if err := os.Mkdir(peer, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	// A chord that moves, over noise: it fills its bit rate from the first page on.
	in := []string{"-f", "lavfi", "-i", fmt.Sprintf(
		"aevalsrc='0.25*sin(2*PI*%d*t)+0.2*sin(2*PI*%d*t*(1+0.01*sin(t)))+0.15*(random(0)-0.5)|0.25*sin(2*PI*%d*t)+0.15*(random(1)-0.5)':s=44100:d=%d",
		110+7*i, 330+11*i, 220+5*i, trackSeconds)}
	if source != "" {
		in = []string{"-ss", fmt.Sprint(skipSeconds), "-t", fmt.Sprint(trackSeconds), "-i", source}
	}
	plain := []string{"-map", "0:a", "-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact", "-ac", "2", "-ar", "44100"}
	vorbis := append(slices.Clone(plain), "-c:a", "libvorbis", "-b:a", "160k")
	for _, args := range [][]string{
		append(append(slices.Clone(in), plain...), "-metadata", "title="+title(i), "-metadata", "artist=Bench", "-metadata", "album=Bench",
			"-metadata", fmt.Sprintf("track=%d", i+1), flac),
		// Pages of 250 ms like Segue's own, so that what differs is the way and not the encoding ...
		append(append([]string{"-i", flac}, vorbis...), "-page_duration", "250000", filepath.Join(peer, "short.ogg")),
		// ... and of 1 s, as ffmpeg makes them when nobody asks.
		append(append([]string{"-i", flac}, vorbis...), filepath.Join(peer, "plain.ogg")),
		append(append([]string{"-i", flac}, plain...), "-c:a", "aac", "-b:a", "160k", "-f", "segment", "-segment_format", "adts", "-segment_time", "4",
			"-segment_list", filepath.Join(peer, "media.m3u8"), filepath.Join(peer, "%d.aac")),
	} {
		cmd := exec.CommandContext(ctx, "ffmpeg", append([]string{"-v", "error", "-nostdin", "-y"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("make track %d: %w: %.300s", i, err, out)
		}
	}
	master := "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=170000,CODECS=\"mp4a.40.2\"\nmedia.m3u8\n"
	if err := os.WriteFile(filepath.Join(peer, "master.m3u8"), []byte(master), 0o644); err != nil {
		return fmt.Errorf("write playlist: %w", err)
	}
	return nil
}
