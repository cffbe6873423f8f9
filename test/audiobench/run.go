package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/segue-music/segue/audio/fingerprint"
)

// parts are what can be measured, in this order.
var parts = []struct {
	name string
	run  func(context.Context, *options, []string) error
}{{"codes", codes}, {"recall", recall}, {"speeds", speeds}, {"speed", speed}, {"scale", scale}}

func run(ctx context.Context, o *options, only []string) error {
	files, err := tracks(ctx, o)
	if err != nil {
		return err
	}
	done := 0
	for _, p := range parts {
		if len(only) > 0 && !slices.Contains(only, p.name) {
			continue
		}
		done++
		if err := p.run(ctx, o, files); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Println()
	}
	if done != max(len(only), min(done, len(parts))) {
		return fmt.Errorf("%q: codes, recall, speeds, speed and scale are known", only)
	}
	return nil
}

// tracks are the files of music that can be decoded, in the order of their names.
func tracks(ctx context.Context, o *options) ([]string, error) {
	if o.music == "" {
		return nil, errors.New("-music: tell a folder of music")
	}
	var out []string
	err := filepath.WalkDir(o.music, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if slices.Contains([]string{".ogg", ".mp3", ".flac", ".m4a", ".opus", ".wav"}, strings.ToLower(filepath.Ext(path))) {
			out = append(out, path)
		}
		return nil
	})
	if o.tracks > 0 && len(out) > o.tracks {
		out = out[:o.tracks]
	}
	all := len(out)
	out = slices.DeleteFunc(out, func(path string) bool {
		_, err := ffmpeg(ctx, nil, "-i", path, "-t", "1", "-f", "null", "-")
		return err != nil
	})
	fmt.Printf("%d tracks", len(out))
	if all > len(out) {
		fmt.Printf("; %d more are left out, since ffmpeg cannot read them", all-len(out))
	}
	fmt.Printf(".\n\n")
	if err == nil && len(out) < 2 {
		err = fmt.Errorf("%d tracks in %s", len(out), o.music)
	}
	return out, err
}

// ffmpeg runs the program of this name on the music of this folder: no file of a stranger.
func ffmpeg(ctx context.Context, in []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "ffmpeg", append([]string{"-v", "error", "-nostdin", "-threads", "1"}, args...)...)
	if in != nil {
		cmd.Stdin = bytes.NewReader(in)
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ffmpeg %s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return out, nil
}

var (
	toMono = []string{"-ar", "11025", "-ac", "1", "-f", "s16le", "pipe:1"}
	toCD   = []string{"-ar", "44100", "-ac", "2", "-f", "s16le", "pipe:1"}
	fromCD = []string{"-f", "s16le", "-ar", "44100", "-ac", "2", "-i", "pipe:0"}
)

func join(parts ...[]string) []string { return slices.Concat(parts...) }

func samples(pcm []byte) []int16 {
	out := make([]int16, len(pcm)/2)
	for i := range out {
		out[i] = int16(uint16(pcm[2*i]) | uint16(pcm[2*i+1])<<8)
	}
	return out
}

// fpcalc runs it on PCM or a file, and returns what it used of a CPU as well. It ends with 3 at the end of what it reads.
func fpcalc(ctx context.Context, in []byte, args ...string) (fingerprint.Fingerprint, float64, error) {
	cmd := exec.CommandContext(ctx, "fpcalc", append([]string{"-plain", "-length", "0"}, args...)...)
	if in != nil {
		cmd.Stdin = bytes.NewReader(in)
	}
	out, err := cmd.Output()
	fp, bad := fingerprint.Unpack(strings.TrimSpace(string(out)))
	if bad != nil || len(fp) == 0 {
		return nil, 0, fmt.Errorf("fpcalc %s: %w: %.100q", strings.Join(args, " "), errors.Join(err, bad), out)
	}
	return fp, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), nil
}

// each calls f for numbers below n, four at a time.
func each(n int, f func(i int) error) error {
	var all sync.WaitGroup
	next := make(chan int)
	errs := make([]error, n)
	for range 4 {
		all.Go(func() {
			for i := range next {
				errs[i] = f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
	return errors.Join(errs...)
}

func name(path string) string {
	return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
}

func note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
