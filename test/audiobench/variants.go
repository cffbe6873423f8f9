package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/segue-music/segue/audio/fingerprint"
)

// clipLength is how long a clip is.
const clipLength = 10 * fingerprint.SampleRate

// clipItems is about how many items a clip has.
const clipItems = (clipLength-4096)/fingerprint.SamplesPerItem + 2 - fingerprint.ItemFrames

// copyLength is of how much of a track copies are made, in seconds: encoders take their time.
const copyLength = 75

// copies are kinds of worse copies of a track: from its begin at 44,100 Hz to mono samples at 11,025 Hz.
var copies = []struct {
	name string
	make func(ctx context.Context, cd []byte) ([]byte, error)
}{
	{"Vorbis, 24 kbps mono", encoded("ogg", "-c:a", "libvorbis", "-ac", "1", "-ar", "22050", "-b:a", "24k")},
	{"Vorbis, 96 kbps", encoded("ogg", "-c:a", "libvorbis", "-b:a", "96k")},
	{"Vorbis, 160 kbps", encoded("ogg", "-c:a", "libvorbis", "-b:a", "160k")},
	{"Vorbis, 320 kbps", encoded("ogg", "-c:a", "libvorbis", "-b:a", "320k")},
	{"MP3, 64 kbps", encoded("mp3", "-c:a", "libmp3lame", "-b:a", "64k")},
	{"MP3, 128 kbps", encoded("mp3", "-c:a", "libmp3lame", "-b:a", "128k")},
	{"AAC, 96 kbps", encoded("adts", "-c:a", "aac", "-b:a", "96k")},
	{"12 dB quieter", filtered("volume=-12dB")},
	{"noise at 0 dB", noisy},
}

func encoded(format string, args ...string) func(context.Context, []byte) ([]byte, error) {
	return func(ctx context.Context, cd []byte) ([]byte, error) {
		file, err := ffmpeg(ctx, cd, join(fromCD, args, []string{"-f", format, "pipe:1"})...)
		if err != nil {
			return nil, err
		}
		return ffmpeg(ctx, file, join([]string{"-i", "pipe:0"}, toMono)...)
	}
}

func filtered(filter string) func(context.Context, []byte) ([]byte, error) {
	return func(ctx context.Context, cd []byte) ([]byte, error) {
		return ffmpeg(ctx, cd, join(fromCD, []string{"-af", filter}, toMono)...)
	}
}

// noisy adds white noise of the same power.
func noisy(ctx context.Context, cd []byte) ([]byte, error) {
	mono, err := ffmpeg(ctx, cd, join(fromCD, toMono)...)
	if err != nil {
		return nil, err
	}
	return drown(mono, 1), nil
}

func drown(mono []byte, seed uint64) []byte {
	s := samples(mono)
	sum := 0.0
	for _, v := range s {
		sum += float64(v) * float64(v)
	}
	rms := math.Sqrt(sum / float64(max(1, len(s))))
	random := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // the same again in each run
	out := make([]byte, 0, len(mono))
	for _, v := range s {
		x := int16(min(max(float64(v)+rms*random.NormFloat64(), math.MinInt16), math.MaxInt16))
		out = append(out, byte(x), byte(uint16(x)>>8))
	}
	return out
}

// variant is one made copy.
type variant struct {
	kind  string
	track int
	fp    fingerprint.Fingerprint
	// at is where in the track it begins, in items.
	at float64
}

// original is a track as it is in the index.
type original struct {
	name  string
	fp    fingerprint.Fingerprint // of all of it
	begin fingerprint.Fingerprint // of the first two minutes
}

// makeVariants makes all copies and all clips of a track.
func makeVariants(ctx context.Context, n int, file string) (o original, whole, clips []variant, err error) {
	cd, err := ffmpeg(ctx, nil, join([]string{"-i", file}, toCD)...)
	if err != nil {
		return o, nil, nil, err
	}
	mono, err := ffmpeg(ctx, cd, join(fromCD, toMono)...)
	if err != nil {
		return o, nil, nil, err
	}
	cd = cd[:min(len(cd), copyLength*44100*4)]
	begin := mono[:min(len(mono), 120*fingerprint.SampleRate*2)]
	o = original{name: name(file), fp: fingerprint.Compute(samples(mono)), begin: fingerprint.Compute(samples(begin))}
	var worst []byte // decoded from the worst codec
	for i, c := range copies {
		pcm, err := c.make(ctx, cd)
		if err != nil {
			return o, nil, nil, err
		}
		if i == 0 {
			worst = pcm
		}
		whole = append(whole, variant{c.name, n, fingerprint.Compute(samples(pcm)), 0})
	}
	random := rand.New(rand.NewPCG(uint64(n), 3)) //nolint:gosec // the same again in each run
	for _, cut := range []float64{3.7, 11.3, 31.9} {
		from := int(cut*fingerprint.SampleRate) * 2
		if from+40*2*fingerprint.SampleRate < len(begin) {
			whole = append(whole, variant{fmt.Sprintf("the first %.1f s cut off", cut), n, fingerprint.Compute(samples(begin[from:])), float64(from) / 2 / fingerprint.SamplesPerItem})
		}
	}
	for range 5 {
		if len(mono)/2 <= clipLength {
			break
		}
		from := random.IntN(len(mono)/2-clipLength) * 2
		clip := mono[from:][:clipLength*2]
		at := float64(from) / 2 / fingerprint.SamplesPerItem
		clips = append(clips, variant{"10 s from anywhere", n, fingerprint.Compute(samples(clip)), at},
			variant{"10 s from anywhere, noise at 0 dB", n, fingerprint.Compute(samples(drown(clip, uint64(from)))), at})
		if len(worst)/2 > clipLength {
			from := random.IntN(len(worst)/2-clipLength) * 2
			clips = append(clips, variant{"10 s of Vorbis, 24 kbps mono", n, fingerprint.Compute(samples(worst[from:][:clipLength*2])), float64(from) / 2 / fingerprint.SamplesPerItem})
		}
	}
	return o, whole, clips, nil
}
