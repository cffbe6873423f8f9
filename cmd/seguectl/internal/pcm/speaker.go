package pcm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"github.com/segue-music/segue/cmd/seguectl/internal/child"
)

// ErrNoSpeaker says that no program is there to play sound with.
var ErrNoSpeaker = errors.New("no way to the speaker was found: install pipewire-bin (pw-cat), pulseaudio-utils (paplay) or alsa-utils (aplay)")

// player is a program that plays raw sound from its standard input.
type player struct {
	program string
	args    []string
	// raw is an option that older versions lack; empty: there is none.
	raw string
}

// players are the programs in the order of preference.
func players() []player {
	return []player{
		{"pw-cat", []string{"--playback", "--raw", "--format", "s16", "--rate", "44100", "--channels", "2", "-"}, "--raw"},
		{"paplay", []string{"--raw", "--format=s16le", "--rate=44100", "--channels=2", "--client-name=seguectl"}, ""},
		{"aplay", []string{"-q", "-t", "raw", "-f", "S16_LE", "-r", "44100", "-c", "2", "-"}, ""},
	}
}

// Speaker plays by a program.
type Speaker struct {
	cmd       *exec.Cmd
	in        io.WriteCloser
	complaint *child.Complaint
}

// OpenSpeaker starts the first program that is there. ctx ends it at once.
func OpenSpeaker(ctx context.Context) (*Speaker, error) {
	for _, p := range players() {
		path, err := exec.LookPath(p.program)
		if err != nil || p.raw != "" && !knows(ctx, path, p.raw) {
			continue
		}
		cmd, complaint := child.Command(ctx, path, p.args...)
		s := &Speaker{cmd: cmd, complaint: complaint}
		if s.in, err = s.cmd.StdinPipe(); err != nil {
			return nil, fmt.Errorf("start %s: %w", p.program, err)
		}
		if err := s.cmd.Start(); err != nil {
			return nil, fmt.Errorf("start %s: %w", p.program, err)
		}
		return s, nil
	}
	return nil, ErrNoSpeaker
}

// knows reports whether a program speaks of an option in its help.
func knows(ctx context.Context, path, option string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	// Some programs print their help with a status of failure: what counts is the text.
	help, _ := exec.CommandContext(ctx, path, "--help").CombinedOutput()
	return bytes.Contains(help, []byte(option))
}

// Write implements Sink. It waits as long as the program does.
func (s *Speaker) Write(p []byte) (int, error) {
	n, err := s.in.Write(p)
	if err != nil {
		return n, s.broken(errors.Join(err, s.cmd.Wait()))
	}
	return n, nil
}

// Close waits until the last sound has been played, unless the context has ended.
func (s *Speaker) Close() error {
	_ = s.in.Close() // the program's end says what went wrong
	if s.cmd.ProcessState != nil {
		return nil // it ended before, and Write has said so
	}
	if err := s.cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return s.broken(err)
	}
	return nil
}

func (s *Speaker) broken(err error) error {
	if text := s.complaint.String(); text != "" {
		return fmt.Errorf("%s: %s: %w", s.cmd.Args[0], text, err)
	}
	return fmt.Errorf("%s: %w", s.cmd.Args[0], err)
}
