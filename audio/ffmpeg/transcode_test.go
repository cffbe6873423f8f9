package ffmpeg_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/segue-music/segue/audio/ffmpeg"
	"github.com/segue-music/segue/audio/ogg"
)

// allOutputs collects all four renditions and the PCM.
func allOutputs() (ffmpeg.Job, *bytes.Buffer, []*bytes.Buffer) {
	pcm := &bytes.Buffer{}
	job := ffmpeg.Job{PCM: pcm}
	var files []*bytes.Buffer
	for _, q := range ffmpeg.Renditions() {
		b := &bytes.Buffer{}
		files = append(files, b)
		job.Outputs = append(job.Outputs, ffmpeg.Output{Rendition: q, W: b})
	}
	return job, pcm, files
}

func TestRunner_Transcode(t *testing.T) {
	t.Parallel()
	r := newRunner(t, ffmpeg.Config{})
	stereo := wave(2.3, 44100, 2)
	tags := []string{"-metadata", "title=A Title", "-metadata", "artist=Somebody"}
	tests := []struct {
		name, ext string
		in        func() []byte
		seconds   float64
		slack     float64
	}{
		{"wav", "wav", func() []byte { return stereo }, 2.3, 0},
		{"wav_mono_8k", "wav", func() []byte { return wave(2, 8000, 1) }, 2, 0.001},
		{"wav_5.1_48k", "wav", func() []byte { return wave(2, 48000, 6) }, 2, 0.001},
		{"flac_tagged", "flac", func() []byte { return convert(t, stereo, "flac", tags...) }, 2.3, 0},
		{"mp3", "mp3", func() []byte { return convert(t, stereo, "mp3", tags...) }, 2.3, 0.06},
		{"m4a_moov_last", "m4a", func() []byte { return convert(t, stereo, "m4a", tags...) }, 2.3, 0.06},
		{"m4a_moov_first", "m4a", func() []byte { return convert(t, stereo, "m4a", "-movflags", "+faststart") }, 2.3, 0.06},
		{"ogg", "ogg", func() []byte { return convert(t, stereo, "ogg", tags...) }, 2.3, 0},
		{"opus", "opus", func() []byte { return convert(t, stereo, "opus", tags...) }, 2.3, 0.03},
		{"wavpack", "wv", func() []byte { return convert(t, stereo, "wv") }, 2.3, 0},
		{"aiff", "aiff", func() []byte { return convert(t, stereo, "aiff") }, 2.3, 0},
		{"alac", "m4a", func() []byte { return convert(t, stereo, "m4a", "-c:a", "alac") }, 2.3, 0},
	}
	setups := make([][]byte, len(ffmpeg.Renditions()))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			job, pcm, files := allOutputs()
			job.Source = stage(t, "source."+tt.ext, tt.in())
			job.Expect = time.Duration(tt.seconds * float64(time.Second))
			res, err := r.Transcode(context.Background(), job)
			if err != nil {
				t.Fatal(err)
			}
			if res.Samples != uint64(pcm.Len()/4) {
				t.Errorf("%d samples, %d bytes of PCM", res.Samples, pcm.Len())
			}
			if d := res.Duration().Seconds() - tt.seconds; d < -tt.slack-1e-4 || d > tt.slack+1e-4 {
				t.Errorf("%v decoded, want %v s", res.Duration(), tt.seconds)
			}
			for i, q := range ffmpeg.Renditions() {
				s, err := ogg.Split(bytes.NewReader(files[i].Bytes()))
				if err != nil {
					t.Fatalf("%v: %v", q, err)
				}
				if s.TotalSamples != res.Totals[i] || q.Rate() == 44100 && s.TotalSamples != res.Samples {
					t.Errorf("%v: %d samples, reported %d, PCM %d", q, s.TotalSamples, res.Totals[i], res.Samples)
				}
				if s.Vorbis.Channels != q.Channels() || s.Vorbis.Rate != q.Rate() {
					t.Errorf("%v: %d channels, %d Hz", q, s.Vorbis.Channels, s.Vorbis.Rate)
				}
				if setups[i] == nil {
					setups[i] = s.Setup
				} else if !bytes.Equal(setups[i], s.Setup) {
					t.Errorf("%v: setup differs from that of other sources", q)
				}
			}
		})
	}
}

func TestRunner_Transcode_fast_path(t *testing.T) {
	t.Parallel()
	r := newRunner(t, ffmpeg.Config{})
	var file bytes.Buffer
	res, err := r.Transcode(context.Background(), ffmpeg.Job{
		Source:  stage(t, "a.wav", wave(1, 44100, 2)),
		Outputs: []ffmpeg.Output{{Rendition: ffmpeg.Vorbis96, W: &file}},
	})
	if err != nil || res.Samples != 44100 || res.Totals[0] != 44100 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestRunner_Transcode_bounds(t *testing.T) {
	t.Parallel()
	src := stage(t, "a.wav", wave(8, 44100, 2))
	flac := convert(t, wave(3, 44100, 2), "flac")
	boom := errors.New("disk full")
	tests := []struct {
		name string
		cfg  ffmpeg.Config
		job  ffmpeg.Job
		want error
		lim  ffmpeg.Limit
	}{
		{"too_long", ffmpeg.Config{MaxDuration: 5 * time.Second}, ffmpeg.Job{Source: src}, ffmpeg.ErrTooLong, ""},
		{"wall", ffmpeg.Config{MaxWall: time.Millisecond}, ffmpeg.Job{Source: src}, ffmpeg.ErrKilled, ffmpeg.LimitWall},
		{"writer", ffmpeg.Config{}, ffmpeg.Job{Source: src, PCM: broken{boom}}, boom, ""},
		{"truncated_flac", ffmpeg.Config{}, ffmpeg.Job{Source: stage(t, "a", flac[:len(flac)/2]), Expect: 3 * time.Second}, ffmpeg.ErrTruncated, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := newRunner(t, tt.cfg).Transcode(context.Background(), tt.job)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			var killed *ffmpeg.KilledError
			if tt.lim != "" && (!errors.As(err, &killed) || killed.Limit != tt.lim) {
				t.Errorf("error %v, want limit %v", err, tt.lim)
			}
		})
	}
}

type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

func TestRunner_Transcode_cancel(t *testing.T) {
	t.Parallel()
	r := newRunner(t, ffmpeg.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	_, err := r.Transcode(ctx, ffmpeg.Job{Source: stage(t, "a", wave(8, 44100, 2)), PCM: writer(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	})})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestRunner_Transcode_cancelled_before(t *testing.T) {
	t.Parallel()
	r := newRunner(t, ffmpeg.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Transcode(ctx, ffmpeg.Job{Source: stage(t, "a", wave(0.1, 44100, 2))}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestRunner_Probe(t *testing.T) {
	t.Parallel()
	r := newRunner(t, ffmpeg.Config{})
	p, err := r.Probe(context.Background(), stage(t, "x", convert(t, wave(1, 44100, 2), "m4a", "-metadata", "title=Hé")))
	if err != nil {
		t.Fatal(err)
	}
	if p.Codec != "aac" || p.Rate != 44100 || p.Channels != 2 || p.Tags["title"] != "Hé" || p.Duration < 900*time.Millisecond {
		t.Errorf("%+v", p)
	}
}
