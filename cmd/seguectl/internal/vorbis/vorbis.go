// Package vorbis turns Ogg Vorbis into sound, by one ffmpeg that runs as long as its
// stream. It decodes and nothing else: what to keep of the output is for the caller, who
// knows the positions.
package vorbis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"

	"github.com/segue-music/segue/cmd/seguectl/internal/child"
	"github.com/segue-music/segue/cmd/seguectl/internal/pcm"
)

// ErrNoFFmpeg says that ffmpeg is not installed.
var ErrNoFFmpeg = errors.New("ffmpeg was not found, and is needed to decode Vorbis: install ffmpeg")

// Decoder is one running ffmpeg. Pages go in by Write, sound in the format of package
// pcm comes out by Read. One goroutine writes, one reads.
type Decoder struct {
	cmd       *exec.Cmd
	in        io.WriteCloser
	out       io.ReadCloser
	complaint *child.Complaint
}

// Start starts a decoder. ctx ends it at once.
func Start(ctx context.Context) (*Decoder, error) {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return nil, ErrNoFFmpeg
	}
	// Without a look at more than the headers: sound comes out as soon as pages go in. (The
	// flag nobuffer would throw the first packet away.)
	// The filter for another rate or number of channels is made only where one is needed.
	cmd, complaint := child.Command(ctx, path,
		"-hide_banner", "-nostdin", "-loglevel", "error", "-threads", "1",
		"-protocol_whitelist", "pipe", "-probesize", "32", "-analyzeduration", "0",
		"-f", "ogg", "-i", "pipe:0", "-map", "0:a:0", "-c:a", "pcm_s16le",
		"-ar", strconv.Itoa(pcm.Rate), "-ac", strconv.Itoa(pcm.Channels), "-flush_packets", "1", "-f", "s16le", "pipe:1")
	d := &Decoder{cmd: cmd, complaint: complaint}
	if d.in, err = d.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start ffmpeg: %w", err)
	}
	if d.out, err = d.cmd.StdoutPipe(); err != nil {
		return nil, fmt.Errorf("start ffmpeg: %w", err)
	}
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start ffmpeg: %w", err)
	}
	return d, nil
}

// Write gives it whole pages: the setup first, then records.
func (d *Decoder) Write(pages []byte) error {
	if _, err := d.in.Write(pages); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	return nil
}

// End says that no more pages come.
func (d *Decoder) End() error { return d.in.Close() }

// Read reads sound, io.EOF after the last of it.
func (d *Decoder) Read(p []byte) (int, error) { return d.out.Read(p) }

// Close ends ffmpeg, wherever it is. Call it when nobody writes and reads any more. The
// error is what ffmpeg complained of.
func (d *Decoder) Close() error {
	_ = d.cmd.Process.Kill()
	_ = d.in.Close() // it may be closed already
	_ = d.cmd.Wait() // killed, mostly
	if text := d.complaint.String(); text != "" {
		return fmt.Errorf("decode: ffmpeg: %s", text)
	}
	return nil
}
