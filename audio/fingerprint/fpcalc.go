package fingerprint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// Length is how much sound from the start is used.
	Length = 120 * time.Second
	// ItemsPerSecond is about how many items a second of sound makes.
	ItemsPerSecond = 8.07

	pcmRate   = 44100
	pcmFrame  = 4
	maxPCM    = int64(Length/time.Second) * pcmRate * pcmFrame
	maxItems  = 4096
	maxOutput = 64 << 10
	waitDelay = 2 * time.Second
)

var (
	// ErrTooShort means that the sound is too short for a fingerprint: less than
	// about three seconds.
	ErrTooShort = errors.New("fingerprint: sound is too short")
	// ErrFpcalc means that the program failed or said something unexpected.
	ErrFpcalc = errors.New("fingerprint: fpcalc")
)

// Fingerprint is a raw Chromaprint fingerprint, algorithm 2: one item for about
// 124 ms of sound.
type Fingerprint []uint32

// Calculator runs fpcalc.
type Calculator struct {
	// Path is the name or path of fpcalc; empty means "fpcalc".
	Path string
	// Timeout bounds one run; 0 means two minutes. It covers the wait for PCM.
	Timeout time.Duration
}

// Calculate reads interleaved s16le stereo PCM at 44.1 kHz from pcm: the first
// Length of it, and drops the rest, so that a writer on the other side is never
// blocked.
func (c Calculator) Calculate(ctx context.Context, pcm io.Reader) (Fingerprint, error) {
	path, timeout := c.Path, c.Timeout
	if path == "" {
		path = "fpcalc"
	}
	if timeout == 0 {
		timeout = 2 * time.Minute
	}
	run, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(run, path, "-raw", "-format", "s16le", "-rate", "44100", "-channels", "2",
		"-length", strconv.Itoa(int(Length/time.Second)), "-")
	cmd.Env = []string{"LC_ALL=C"}
	cmd.Dir = "/"
	cmd.WaitDelay = waitDelay
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFpcalc, err)
	}
	stdout, stderr := &bounded{max: maxOutput}, &bounded{max: 1024}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: start: %w", ErrFpcalc, err)
	}
	_, readErr := io.Copy(ignoreClosed{stdin}, io.LimitReader(pcm, maxPCM))
	_ = stdin.Close() // fpcalc may have gone before; Wait tells
	waitErr := cmd.Wait()
	late := run.Err() != nil // the rest of a long decode is no matter of fpcalc's
	if _, err := io.Copy(io.Discard, pcm); readErr == nil {
		readErr = err
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case late:
		return nil, fmt.Errorf("%w: no answer in %v", ErrFpcalc, timeout)
	case readErr != nil:
		return nil, fmt.Errorf("read PCM: %w", readErr)
	}
	fp, err := parse(stdout.String())
	if err == nil {
		return fp, nil
	}
	said := stderr.String()
	if strings.Contains(said, "Empty fingerprint") || strings.Contains(said, "Not enough audio data") || errors.Is(err, ErrTooShort) {
		return nil, ErrTooShort
	}
	return nil, fmt.Errorf("%w (%v: %q)", err, waitErr, said) //nolint:errorlint // how it ended, maybe well; err is the cause
}

// parse reads fpcalc's output: lines NAME=VALUE.
func parse(out string) (Fingerprint, error) {
	for text := range strings.Lines(out) {
		list, ok := strings.CutPrefix(strings.TrimSpace(text), "FINGERPRINT=")
		if !ok {
			continue
		}
		if list == "" {
			return nil, ErrTooShort
		}
		var fp Fingerprint
		for item := range strings.SplitSeq(list, ",") {
			v, err := strconv.ParseUint(item, 10, 32)
			if err != nil || len(fp) >= maxItems {
				return nil, fmt.Errorf("%w: output", ErrFpcalc)
			}
			fp = append(fp, uint32(v))
		}
		return fp, nil
	}
	return nil, fmt.Errorf("%w: no fingerprint", ErrFpcalc)
}

// bounded keeps the first max bytes.
type bounded struct {
	bytes.Buffer
	max int
}

func (b *bounded) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), b.max-b.Len())])
	return len(p), nil
}

// ignoreClosed lets a program stop reading early without that being an error.
type ignoreClosed struct{ w io.Writer }

func (i ignoreClosed) Write(p []byte) (int, error) {
	if _, err := i.w.Write(p); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, io.ErrClosedPipe) {
		return 0, err
	}
	return len(p), nil
}
