package vorbis

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/segue-music/segue/audio/ogg"
	"github.com/segue-music/segue/cmd/seguectl/internal/pcm"
	"github.com/segue-music/segue/stream/streamtest"
)

// decode decodes the setup and some records of a stream.
func decode(t *testing.T, st *ogg.Stream, records []ogg.Record) []byte {
	t.Helper()
	d, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fed := make(chan error, 1)
	go func() {
		err := d.Write(st.Setup)
		for _, r := range records {
			if err == nil {
				err = d.Write(r.Pages)
			}
		}
		if err == nil {
			err = d.End()
		}
		fed <- err
	}()
	out, err := io.ReadAll(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-fed; err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

func split(t *testing.T, seconds float64, kbps int) *ogg.Stream {
	t.Helper()
	st, err := ogg.Split(bytes.NewReader(streamtest.Ogg(t, seconds, kbps)))
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestDecoder_WholeTrack(t *testing.T) {
	for _, kbps := range []int{24, 96, 320} {
		t.Run(fmt.Sprint(kbps), func(t *testing.T) {
			st := split(t, 3, kbps)
			want := st.TotalSamples * pcm.Rate / uint64(st.Vorbis.Rate)
			got := uint64(len(decode(t, st, st.Records)) / pcm.FrameSize)
			if got < want || got > want+8192 {
				t.Errorf("%d frames, want %d and at most a block more", got, want)
			}
		})
	}
}

// A decoder that starts anywhere gives, from the record's JoinSample on, the very samples
// that one gives which started at the beginning: positions are exact.
func TestDecoder_AnyRecord(t *testing.T) {
	st := split(t, 5, 160)
	whole := decode(t, st, st.Records)
	for _, n := range []int{1, 2, 7, len(st.Records) - 2, len(st.Records) - 1} {
		got := decode(t, st, st.Records[n:])
		want := whole[st.Records[n].JoinSample*pcm.FrameSize:]
		if !bytes.Equal(got, want) {
			t.Errorf("record %d: %d frames, want the %d from sample %d on", n, len(got)/pcm.FrameSize, len(want)/pcm.FrameSize, st.Records[n].JoinSample)
		}
	}
}

// A listener hears the first pages before the last ones have been received.
func TestDecoder_AtOnce(t *testing.T) {
	st := split(t, 2, 160)
	d, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, pages := range [][]byte{st.Setup, st.Records[0].Pages, st.Records[1].Pages} {
		if err := d.Write(pages); err != nil {
			t.Fatal(err)
		}
	}
	// All but the last packets, which the page after them completes.
	first := make([]byte, (st.Records[1].FirstSample)*pcm.FrameSize)
	if _, err := io.ReadFull(d, first); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestDecoder_Hostile(t *testing.T) {
	for name, in := range map[string][]byte{
		"nothing": nil, "text": []byte("no ogg at all"), "cut": streamtest.Ogg(t, 1, 96)[:3000],
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Start(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				_ = d.Write(in) // it may have given up before
				_ = d.End()
			}()
			out, err := io.ReadAll(d)
			if err != nil {
				t.Fatal(err)
			}
			if len(out) > 0 {
				t.Errorf("%d bytes of sound out of %s", len(out), name)
			}
			if err := d.Close(); err == nil {
				t.Error("no error")
			}
		})
	}
}
