package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/wire"
)

// Plays a track from a minute into it, as Ogg Vorbis on standard output. What the
// Config holds comes from OpenSession of segue.playback.v1; the session key is opened with
// seal.OpenSessionKey.
func ExampleSession_Play() {
	play := func(ctx context.Context, cfg client.Config, track [16]byte) error {
		s, err := client.Open(cfg)
		if err != nil {
			return err
		}
		defer s.Close()
		st, err := s.Play(ctx, client.Request{Track: track, Quality: wire.Kbps160, From: time.Minute})
		if err != nil {
			return err
		}
		defer st.Close()
		if _, err := os.Stdout.Write(st.Setup()); err != nil {
			return err
		}
		for {
			rec, err := st.Next()
			if errors.Is(err, io.EOF) {
				fmt.Fprintf(os.Stderr, "started in %s, %d samples to skip\n", st.Stats().Start, st.Skip())
				return nil
			}
			if err != nil {
				return err
			}
			if _, err := os.Stdout.Write(rec.Pages); err != nil {
				return err
			}
		}
	}
	// Without a ticket nothing is played.
	fmt.Println(play(context.Background(), client.Config{}, [16]byte{1}))
	// Output: open stream session: ticket of 0 bytes
}
