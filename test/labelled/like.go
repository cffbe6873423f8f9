package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/segue-music/segue/audio/embedding"
	"github.com/segue-music/segue/audio/tag"
)

// song is a track of real music: the folder that it is in stands for its album.
type song struct {
	piece

	album, artist string
	vector        embedding.Vector
}

// songs analyses all music of folders that names its artist.
func songs(ctx context.Context, dirs []string) ([]*song, error) {
	var all []*song
	var pieces []*piece
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !slices.Contains([]string{".ogg", ".mp3", ".flac", ".opus", ".m4a", ".wav"}, strings.ToLower(filepath.Ext(path))) {
				return err
			}
			s := &song{piece: piece{name: path, file: path}, album: filepath.Dir(path)}
			s.artist, err = artist(path)
			all = append(all, s)
			pieces = append(pieces, &s.piece)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	// What cannot be decoded is told and left out.
	if err := listen(ctx, pieces); err != nil {
		fmt.Fprintln(os.Stderr, "labelled:", err)
	}
	all = slices.DeleteFunc(all, func(s *song) bool { return s.seconds == 0 })
	for _, s := range all {
		s.vector = embedding.Of(&s.found)
	}
	return all, nil
}

func artist(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	tags, err := tag.Read(f, info.Size())
	if err != nil {
		return "", nil // sound without tags is sound
	}
	return strings.Join(tags.Artists, ", "), nil
}

// usual prints what each measurement is over music, as audio/embedding has it.
func usual(out io.Writer, all []*song) error {
	var sum, square [embedding.Dimensions]float64
	n := 0.0
	for _, s := range all {
		raw, ok := embedding.Measured(&s.found)
		if !ok {
			continue
		}
		n++
		for i, v := range raw {
			sum[i] += v
			square[i] += v * v
		}
	}
	fmt.Fprintf(out, "// Of %.0f tracks.\n", n)
	for i := range sum {
		mean := sum[i] / n
		fmt.Fprintf(out, "\t{%.4g, %.4g},\n", mean, spread(square[i]/n-mean*mean))
	}
	return nil
}

const shuffles = 200

// like prints how well near tracks are those of one artist, and of one album.
func like(out io.Writer, all []*song) error {
	if len(all) < 2 {
		return errors.New("nothing to compare")
	}
	x := embedding.NewExact(embedding.Dimensions)
	byName := map[string]*song{}
	for _, s := range all {
		byName[s.name] = s
		if err := x.Put(s.name, s.vector[:]); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "| %d tracks: near is | queries | mean average precision | shuffled | times |\n|---|--:|--:|--:|--:|\n", len(all))
	for _, q := range []struct {
		name  string
		right func(a, b *song) bool
		left  func(a, b *song) bool
	}{
		{"the artist's, among the album's", func(a, b *song) bool { return a.artist != "" && a.artist == b.artist }, func(a, b *song) bool { return a.album != b.album }},
		{"the album's, the artist's own left out", func(a, b *song) bool { return a.album == b.album }, func(a, b *song) bool { return a.artist == b.artist }},
	} {
		var real, chance float64
		queries := 0
		random := rand.New(rand.NewPCG(7, 7)) //nolint:gosec // a shuffle to compare with, the same each time
		for _, s := range all {
			near, err := x.Nearest(s.vector[:], len(all), func(id string) bool { return id == s.name || q.left(s, byName[id]) })
			if err != nil {
				return err
			}
			right := make([]bool, len(near))
			for i, n := range near {
				right[i] = q.right(s, byName[n.ID])
			}
			if !slices.Contains(right, true) || !slices.Contains(right, false) {
				continue
			}
			queries++
			real += precision(right)
			for range shuffles {
				random.Shuffle(len(right), func(i, j int) { right[i], right[j] = right[j], right[i] })
				chance += precision(right) / shuffles
			}
		}
		if queries == 0 {
			continue
		}
		fmt.Fprintf(out, "| %s | %d | %.3f | %.3f | %.2f |\n", q.name, queries, real/float64(queries), chance/float64(queries), real/chance)
	}
	return nil
}

// precision is the mean of the share of right ones up to each right one.
func precision(right []bool) float64 {
	sum, n := 0.0, 0.0
	for i, r := range right {
		if r {
			n++
			sum += n / float64(i+1)
		}
	}
	return sum / n
}

// spread is the root of a variance, which may be a little under 0.
func spread(variance float64) float64 { return math.Sqrt(max(variance, 1e-9)) }

// show prints what is found of each track.
func show(out io.Writer, all []*song) error {
	fmt.Fprintln(out, "| track | bpm | metre | key | tuning | energy | dance | valence | acoustic | speech | sections | fade out |\n|---|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, s := range all {
		r := &s.found
		key := ""
		if len(r.Tonal.Keys) > 0 {
			key = fmt.Sprintf("%s %.0f %%", r.Tonal.Keys[0].Key, 100*r.Tonal.Keys[0].Probability)
		}
		_, err := fmt.Fprintf(out, "| %s | %.1f (%.0f %%) | %d (%.2f) | %s | %.0f | %.2f | %.2f | %.2f | %.2f | %.2f | %d | %.0f to %.0f |\n",
			filepath.Base(s.file), r.Beat.Tempo.BPM, 100*r.Beat.Tempo.Probability, r.Beat.Metre, r.Beat.MetreConfidence, key, r.Tonal.Tuning,
			r.Feel.Energy, r.Feel.Danceability, r.Feel.Valence, r.Feel.Acousticness, r.Feel.Speechiness, len(r.Sections), r.Ends.FadeOutStart, r.Ends.End)
		if err != nil {
			return err
		}
	}
	return nil
}
