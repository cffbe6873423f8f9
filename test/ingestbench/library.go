package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// kind is one type of file in the library.
type kind struct {
	ext  string
	args []string
	tag  func([]byte, song) ([]byte, error)
	// share of the library in hundredths
	share int
}

func kinds() []kind {
	return []kind{
		{"flac", nil, flac, 45},
		{"mp3", []string{"-b:a", "192k", "-write_id3v2", "0"}, mp3, 35},
		{"m4a", []string{"-c:a", "aac", "-b:a", "128k"}, mp4, 12},
		{"ogg", []string{"-c:a", "libvorbis", "-q:a", "4"}, vorbis, 8},
	}
}

const perAlbum = 12

// library makes n tagged files in dir: albums of twelve in folders Artist/Album, of one
// type of file each. One album in ten is a compilation, one track in six has a second
// artist, one album in eight has two discs, two in five have a cover in every file. The
// same seed makes the same library.
func library(ctx context.Context, dir string, n int) error {
	sound := map[string][]byte{}
	for _, k := range kinds() {
		b, err := makeSound(ctx, k, 2)
		if err != nil {
			return err
		}
		sound[k.ext] = b
	}
	random := rand.New(rand.NewPCG(7, 7)) //nolint:gosec // the same library each time
	for album := 0; album*perAlbum < n; album++ {
		k := pick(random)
		artist := fmt.Sprintf("%s %s", words[random.IntN(len(words))], words[random.IntN(len(words))])
		title := fmt.Sprintf("%s of %s %d", words[random.IntN(len(words))], words[random.IntN(len(words))], album)
		s := song{album: title, date: fmt.Sprint(1960 + album%60), albumArtists: []string{artist}, genres: []string{genres[random.IntN(len(genres))]}, tracks: perAlbum, disc: 1, discs: 1}
		various := album%10 == 9
		if various {
			s.albumArtists = []string{"Various Artists"}
		}
		if album%8 == 0 {
			s.discs, s.tracks = 2, perAlbum/2
		}
		if album%5 < 2 {
			var err error
			if s.cover, err = cover(random); err != nil {
				return err
			}
		}
		folder := filepath.Join(dir, artist, title)
		if err := os.MkdirAll(folder, 0o750); err != nil {
			return fmt.Errorf("make library: %w", err)
		}
		for i := range min(perAlbum, n-album*perAlbum) {
			s.title = fmt.Sprintf("%s %s %d", words[random.IntN(len(words))], words[random.IntN(len(words))], album*perAlbum+i)
			s.artists = []string{artist}
			if various {
				s.artists = []string{fmt.Sprintf("%s %s", words[random.IntN(len(words))], words[random.IntN(len(words))])}
			}
			if random.IntN(6) == 0 {
				s.artists = append(s.artists, words[random.IntN(len(words))]+" Trio")
			}
			s.disc, s.track = 1+i/s.tracks, 1+i%s.tracks
			b, err := k.tag(sound[k.ext], s)
			if err != nil {
				return fmt.Errorf("tag %s: %w", k.ext, err)
			}
			name := fmt.Sprintf("%d-%02d %s.%s", s.disc, s.track, s.title, k.ext)
			if err := os.WriteFile(filepath.Join(folder, name), b, 0o600); err != nil {
				return fmt.Errorf("make library: %w", err)
			}
		}
	}
	return nil
}

func pick(random *rand.Rand) kind {
	at := random.IntN(100)
	for _, k := range kinds() {
		if at -= k.share; at < 0 {
			return k
		}
	}
	return kinds()[0]
}

// makeSound has ffmpeg make an untagged file.
func makeSound(ctx context.Context, k kind, seconds int) ([]byte, error) {
	dir, err := os.MkdirTemp("", "ingestbench-")
	if err != nil {
		return nil, fmt.Errorf("make sound: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // of the system's temporary folder
	out := filepath.Join(dir, "a."+k.ext)
	args := append([]string{
		"-v", "error", "-nostdin", "-f", "lavfi", "-i", fmt.Sprintf("aevalsrc=exprs='0.3*sin(2*PI*t*(220+110*mod(floor(t*4),7)))':d=%d:s=44100", seconds),
		"-ac", "2", "-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact",
	}, k.args...)
	if msg, err := exec.CommandContext(ctx, "ffmpeg", append(args, out)...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make sound: %w: %s", err, msg)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("make sound: %w", err)
	}
	return b, nil
}

// cover is a small picture of two colours.
func cover(random *rand.Rand) ([]byte, error) {
	const size = 300
	img := image.NewRGBA(image.Rect(0, 0, size, size))
	a, b := color.RGBA{uint8(random.IntN(256)), uint8(random.IntN(256)), uint8(random.IntN(256)), 255}, color.RGBA{uint8(random.IntN(256)), 90, 90, 255}
	for y := range size {
		for x := range size {
			c := a
			if (x/30+y/30)%2 == 0 {
				c = b
			}
			img.SetRGBA(x, y, c)
		}
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: 80}); err != nil {
		return nil, fmt.Errorf("make cover: %w", err)
	}
	return out.Bytes(), nil
}

var (
	words = strings.Fields("Amber Birch Cinder Delta Ember Fjord Granite Harbour Indigo Juniper Kestrel Lantern Meadow Nimbus " +
		"Orchid Prairie Quartz River Saffron Thistle Umber Violet Willow Xenon Yarrow Zephyr Anchor Bramble Copper Dune Echo Flint")
	genres = []string{"Rock", "Jazz", "Electronic", "Folk", "Classical", "Hip-Hop", "Ambient"}
)
