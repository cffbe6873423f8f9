package tag_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/segue-music/segue/audio/tag"
)

const (
	mbid1 = "b1a9c0e9-d987-4042-ae91-78d6a3267d69"
	mbid2 = "5b11f4ce-a62d-471e-81fc-a69a8278c7da"
)

func read(t testing.TB, b []byte) *tag.Tags {
	t.Helper()
	got, err := tag.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func cover(b []byte) []byte { return join([]byte("\x00image/png\x00\x03front\x00"), b) }

func TestRead(t *testing.T) {
	mp3 := func(tags []byte) []byte { return join(tags, xing(100), mpegFrames(100)) }
	stream := tag.Tags{Container: tag.MP3, Codec: "mp3", Duration: 2612244897, Rate: 44100, Channels: 2, BitRate: 128983}
	with := func(base tag.Tags, f func(*tag.Tags)) tag.Tags { f(&base); return base }
	flac := tag.Tags{Container: tag.FLAC, Codec: "flac", Duration: 10 * time.Second, Rate: 44100, Channels: 2, BitDepth: 16}
	opus := tag.Tags{Container: tag.Ogg, Codec: "opus", Duration: 3 * time.Second, Rate: 48000, Channels: 2}
	m4a := tag.Tags{Container: tag.MP4, Codec: "aac", Duration: 4 * time.Second, Rate: 44100, Channels: 2, BitRate: 128000}
	wav := tag.Tags{Container: tag.WAV, Codec: "pcm", Duration: time.Second, Rate: 44100, Channels: 2, BitDepth: 16, BitRate: 1411200}
	tests := []struct {
		name string
		in   []byte
		want tag.Tags
	}{
		{"id3v2.4", mp3(id3tag(4, 0,
			frame(4, "TIT2", text(3, "Ámbar")), frame(4, "TPE1", text(3, "AC/DC\x00Guest")), frame(4, "TALB", text(1, "Blå\U0001F3B5")),
			frame(4, "TRCK", text(0, "3/12")), frame(4, "TPOS", text(0, "1/2")), frame(4, "TDRC", text(3, "2009-05-17T10:00")),
			frame(4, "TDOR", text(0, "1999")), frame(4, "TCON", text(3, "(17)(9)Doom")), frame(4, "TCMP", text(0, "1")),
			frame(4, "TSRC", text(0, "us-rc1-76-07839")), frame(4, "TXXX", text(3, "MusicBrainz Album Id\x00"+mbid1)),
			frame(4, "UFID", []byte("http://musicbrainz.org\x00"+mbid2)), frame(4, "TXXX", text(3, "REPLAYGAIN_TRACK_GAIN\x00-7.25 dB")),
			frame(4, "COMM", text(3, "engiTunNORM\x00 00000")), frame(4, "COMM", text(3, "eng\x00Line 1\nLine 2")), frame(4, "USLT", text(1, "")), frame(4, "TXXX", text(3, "BARCODE\x005 012345 678900")),
		)), with(stream, func(w *tag.Tags) {
			w.Title, w.Artists, w.Album, w.ArtistCredit = "Ámbar", []string{"AC/DC", "Guest"}, "Blå\U0001F3B5", "AC/DC, Guest"
			w.Track, w.TrackTotal, w.Disc, w.DiscTotal = 3, 12, 1, 2
			w.Date, w.OriginalDate, w.Genres, w.Compilation = "2009-05-17", "1999", []string{"Rock", "Metal", "Doom"}, true
			w.ISRC, w.Barcode, w.Comment = "USRC17607839", "5012345678900", "Line 1\nLine 2"
			w.MusicBrainz = tag.MusicBrainz{Release: mbid1, Recording: mbid2}
			gain := -7.25
			w.ReplayGain.TrackGain = &gain
		})},
		{"id3v2.3_utf16_slash", mp3(id3tag(3, 0, frame(3, "TIT2", text(1, "Ж")), frame(3, "TPE1", text(1, "A/B")),
			frame(3, "TXXX", text(0, "MusicBrainz Artist Id\x00"+mbid1+"/"+mbid2)), frame(3, "TYER", text(0, "2001")))), with(stream, func(w *tag.Tags) {
			w.Title, w.Artists, w.Date, w.ArtistCredit = "Ж", []string{"A", "B"}, "2001", "A/B"
			w.MusicBrainz.Artists = []string{mbid1, mbid2}
		})},
		{"id3v2.2", mp3(id3tag(2, 0, frame(2, "TT2", text(0, "Caf\u00e9")), frame(2, "TP1", text(0, "X feat. Y")), frame(2, "TRK", text(0, "7")))), with(stream, func(w *tag.Tags) {
			w.Title, w.Artists, w.Featured, w.Track, w.ArtistCredit = "Café", []string{"X"}, []string{"Y"}, 7, "X feat. Y"
		})},
		{"id3v2.3_unsynchronised", mp3(id3tag(3, 0x80, bytes.ReplaceAll(frame(3, "TIT2", text(1, "ÿé")), []byte{0xff}, []byte{0xff, 0}))), with(stream, func(w *tag.Tags) { w.Title = "ÿé" })},
		{"id3v1", join(mpegFrames(10), []byte("TAG"), []byte("Title"+repeat("\x00", 25)+"Artist"+repeat(" ", 24)+"Album"+repeat("\x00", 25)+"1987"+repeat("\x00", 28)+"\x00\x05\x11")), tag.Tags{
			Container: tag.MP3, Codec: "mp3", Duration: 260625 * time.Microsecond, Estimated: true, Rate: 44100, Channels: 2, BitRate: 128000,
			Title: "Title", Artists: []string{"Artist"}, ArtistCredit: "Artist", Album: "Album", Date: "1987", Track: 5, Genres: []string{"Rock"},
		}},
		{"flac", flacFile(flacBlock(true, 4, comments("title=T", "ARTIST=One", "Artist=Two", "ALBUM ARTIST=Various", "TRACKNUMBER=02", "TOTALTRACKS=9", "DATE=20031231",
			"GENRE=Rock; Pop", "LABEL=L", "COMPOSER=C", "LICENSE=https://creativecommons.org/licenses/by-sa/4.0/", "nokey", "=novalue"))), with(flac, func(w *tag.Tags) {
			w.Title, w.Artists, w.ArtistCredit, w.AlbumArtists = "T", []string{"One", "Two"}, "One, Two", []string{"Various"}
			w.Track, w.TrackTotal, w.Date, w.Genres, w.Label, w.Composers = 2, 9, "2003-12-31", []string{"Rock", "Pop"}, "L", []string{"C"}
			w.Licence = "https://creativecommons.org/licenses/by-sa/4.0/"
		})},
		{"flac_behind_id3", join(id3tag(4, 0, frame(4, "TPE1", text(3, "Id3"))), flacFile(flacBlock(true, 4, comments("TITLE=T")))), with(flac, func(w *tag.Tags) {
			w.Title, w.Artists, w.ArtistCredit = "T", []string{"Id3"}, "Id3"
		})},
		{"opus", opusFile("TITLE=O (feat. G)", "ARTISTS=Simon & Garfunkel", "ARTIST=Simon & Garfunkel feat. G", "R128_TRACK_GAIN=-512"), with(opus, func(w *tag.Tags) {
			w.Title, w.Artists, w.Featured, w.ArtistCredit = "O (feat. G)", []string{"Simon & Garfunkel"}, []string{"G"}, "Simon & Garfunkel feat. G"
			gain := 3.0
			w.ReplayGain.TrackGain = &gain
		})},
		{"vorbis", vorbisFile("TITLE=V", "COMPILATION=1", "ITUNESADVISORY=1"), tag.Tags{Container: tag.Ogg, Codec: "vorbis", Duration: 2 * time.Second, Rate: 22050, Channels: 1, Title: "V", Compilation: true, Explicit: true}},
		{"m4a_moov_last", mp4File(true, box("\xa9nam", data(1, []byte("M"))), box("\xa9ART", data(1, []byte("A")), data(1, []byte("B"))),
			box("trkn", data(0, []byte{0, 0, 0, 4, 0, 9, 0, 0})), box("disk", data(0, []byte{0, 0, 0, 1, 0, 2})), box("cpil", data(21, []byte{1})), box("rtng", data(21, []byte{4})),
			box("gnre", data(0, []byte{0, 18})), freeform("ISRC", "USRC17607839"), freeform("MusicBrainz Track Id", mbid1), freeform("ARTISTS", "A", "B"), freeform("iTunNORM", "00"),
			box("\xa9day", data(1, []byte("2011-02-03T08:00:00Z"))), box("cprt", data(1, []byte("(c) me")))), with(m4a, func(w *tag.Tags) {
			w.Title, w.Artists, w.ArtistCredit = "M", []string{"A", "B"}, "A, B"
			w.Track, w.TrackTotal, w.Disc, w.DiscTotal, w.Compilation, w.Explicit, w.Genres = 4, 9, 1, 2, true, true, []string{"Rock"}
			w.ISRC, w.MusicBrainz.Recording, w.Date, w.Copyright = "USRC17607839", mbid1, "2011-02-03", "(c) me"
		})},
		{"m4a_moov_first", mp4File(false, box("\xa9nam", data(1, []byte("M"))), box("rtng", data(21, []byte{2}))), with(m4a, func(w *tag.Tags) { w.Title = "M" })},
		{"wav_info_and_id3", wavFile(join([]byte("LIST"), le32(4+8+6), []byte("INFOINAM"), le32(6), []byte("Inner\x00")),
			join([]byte("id3 "), le32(len(id3tag(4, 0, frame(4, "TPE1", text(3, "Ar"))))), id3tag(4, 0, frame(4, "TPE1", text(3, "Ar"))))), with(wav, func(w *tag.Tags) {
			w.Title, w.Artists, w.ArtistCredit = "Inner", []string{"Ar"}, "Ar"
		})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := read(t, tt.in)
			opts := cmp.Options{cmpopts.EquateApproxTime(0), cmpopts.IgnoreUnexported(tag.Picture{}), cmpopts.EquateApprox(0, 1e-9)}
			if tt.want.BitRate == 0 {
				opts = append(opts, cmpopts.IgnoreFields(tag.Tags{}, "BitRate"))
			}
			if tt.want.Estimated {
				opts = append(opts, cmpopts.IgnoreFields(tag.Tags{}, "Duration"))
				if d := got.Duration - 260625*time.Microsecond; d.Abs() > time.Millisecond {
					t.Errorf("duration %v", got.Duration)
				}
			}
			if diff := cmp.Diff(tt.want, *got, opts); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestRead_pictures(t *testing.T) {
	png := []byte("\x89PNG\xff\x00\xe0picture")
	tests := map[string][]byte{
		"id3v2.4":        join(id3tag(4, 0, frame(4, "APIC", cover(png))), mpegFrames(5)),
		"id3v2.2":        join(id3tag(2, 0, frame(2, "PIC", join([]byte("\x00PNG\x03front\x00"), png))), mpegFrames(5)),
		"id3v2.3_unsync": join(id3tag(3, 0x80, bytes.ReplaceAll(frame(3, "APIC", cover(png)), []byte{0xff}, []byte{0xff, 0})), mpegFrames(5)),
		"flac":           flacFile(flacBlock(true, 6, pictureBlock(3, "image/png", "front", png))),
		"opus":           opusFile(base64Picture()),
		"m4a":            mp4File(true, box("covr", data(14, png))),
	}
	for name, in := range tests {
		t.Run(name, func(t *testing.T) {
			p := read(t, in).Cover()
			if p == nil {
				t.Fatal("no picture")
			}
			got, err := p.Read(bytes.NewReader(in))
			if err != nil {
				t.Fatal(err)
			}
			want := png
			if name == "opus" {
				want = []byte("PNGDATA")
			}
			if !bytes.Equal(got, want) || p.Kind != tag.FrontCover || p.MIME != "image/png" {
				t.Errorf("%q, %+v", got, p)
			}
		})
	}
	t.Run("past_the_end", func(t *testing.T) {
		in := flacFile(flacBlock(true, 6, pictureBlock(3, "image/png", "", png)))
		p := read(t, in).Cover()
		if _, err := p.Read(bytes.NewReader(in[:len(in)-3])); !errors.Is(err, tag.ErrPicture) {
			t.Errorf("error %v", err)
		}
	})
}

func TestRead_hostile_text(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"html_stays_text", "<script>alert(1)</script>", "<script>alert(1)</script>"},
		{"controls", "a\x00b\x1b[31mc\r\nd\te", "ab[31mc d e"},
		{"direction", "ab\u202Ecd\u2066ef\u200f", "abcdef"},
		{"bad_utf8", "a\xff\xfeb", "ab"},
		{"composed", "e\u0301", "\u00e9"},
		{"emoji_joiner", "\U0001F468\u200d\U0001F469", "\U0001F468\u200d\U0001F469"},
		{"byte_order_mark", "\ufeffTitle", "Title"},
		{"only_space", " \t ", ""},
		{"long", repeat("é", 3000), repeat("é", 500)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := read(t, flacFile(flacBlock(true, 4, comments("TITLE="+tt.in)))).Title
			if got != tt.want || !utf8.ValidString(got) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestRead_artists(t *testing.T) {
	tests := []struct {
		name              string
		pairs             []string
		artists, featured []string
	}{
		{"slash_is_a_name", []string{"ARTIST=AC/DC"}, []string{"AC/DC"}, nil},
		{"ampersand_is_a_name", []string{"ARTIST=Simon & Garfunkel"}, []string{"Simon & Garfunkel"}, nil},
		{"comma_is_a_name", []string{"ARTIST=Tyler, The Creator"}, []string{"Tyler, The Creator"}, nil},
		{"values", []string{"ARTIST=A", "ARTIST=B", "ARTIST=A"}, []string{"A", "B"}, nil},
		{"semicolon", []string{"ARTIST=A; B"}, []string{"A", "B"}, nil},
		{"artists_first", []string{"ARTIST=A & B", "ARTISTS=A", "ARTISTS=B"}, []string{"A", "B"}, nil},
		{"ids_that_do_not_count", []string{"ARTIST=A/B/C", "MUSICBRAINZ_ARTISTID=" + mbid1, "MUSICBRAINZ_ARTISTID=" + mbid2}, []string{"A/B/C"}, nil},
		{"featuring", []string{"ARTIST=A Featuring B & C"}, []string{"A"}, []string{"B & C"}},
		{"ft_in_brackets", []string{"ARTIST=A [ft. B]"}, []string{"A"}, []string{"B"}},
		{"word_inside", []string{"ARTIST=Defeat. Of"}, []string{"Defeat. Of"}, nil},
		{"case_kept", []string{"ARTIST=tUnE-yArDs"}, []string{"tUnE-yArDs"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := read(t, flacFile(flacBlock(true, 4, comments(tt.pairs...))))
			if diff := cmp.Diff([][]string{tt.artists, tt.featured}, [][]string{got.Artists, got.Featured}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRead_bad(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"empty", nil, tag.ErrUnknown},
		{"one_byte", []byte{0xff}, tag.ErrUnknown},
		{"zip", []byte("PK\x03\x04" + repeat("x", 5000)), tag.ErrUnknown},
		{"playlist", []byte("#EXTM3U\nhttp://example.com/a.mp3\n"), tag.ErrUnknown},
		{"id3_only", id3tag(4, 0, frame(4, "TIT2", text(3, "x"))), tag.ErrUnknown},
		{"flac_cut", []byte("fLaC\x00\x00"), tag.ErrCorrupt},
		{"ogg_cut", vorbisFile()[:40], tag.ErrCorrupt},
		{"mp4_without_moov", box("ftyp", []byte("M4A ")), tag.ErrCorrupt},
		{"wave_cut", []byte("RIFF\x00\x00\x00\x00WAVEfmt "), tag.ErrCorrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tag.Read(bytes.NewReader(tt.in), int64(len(tt.in))); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
	boom := errors.New("disk")
	if _, err := tag.Read(failing{boom}, 100); !errors.Is(err, boom) {
		t.Errorf("reader's error: %v", err)
	}
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

// counting counts what is read of a file.
type counting struct {
	r     io.ReaderAt
	calls int
	bytes int
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	c.calls++
	c.bytes += len(p)
	return c.r.ReadAt(p, off)
}

func TestRead_little(t *testing.T) {
	big := make([]byte, 3<<20)
	for name, in := range map[string][]byte{
		"mp3":  join(id3tag(4, 0, frame(4, "TIT2", text(3, "x")), frame(4, "APIC", cover(big)), frame(4, "TALB", text(3, "y"))), xing(100), mpegFrames(5000)),
		"flac": join(flacFile(flacBlock(false, 6, pictureBlock(3, "image/png", "", big)), flacBlock(true, 4, comments("TITLE=x"))), big),
		"m4a":  mp4File(true, box("covr", data(14, big)), box("\xa9nam", data(1, []byte("x")))),
	} {
		c := &counting{r: bytes.NewReader(in)}
		if got, err := tag.Read(c, int64(len(in))); err != nil || got.Title != "x" {
			t.Errorf("%s: %v", name, err)
		}
		if c.calls > 8 || c.bytes > 100<<10 {
			t.Errorf("%s: %d reads, %d bytes", name, c.calls, c.bytes)
		}
	}
}

// TestRead_real reads what ffmpeg writes.
func TestRead_real(t *testing.T) {
	for _, tt := range []struct {
		ext, codec string
		slack      time.Duration
	}{
		{"mp3", "mp3", 30 * time.Millisecond}, {"flac", "flac", 0}, {"ogg", "vorbis", time.Millisecond}, {"opus", "opus", 10 * time.Millisecond},
		{"m4a", "aac", 60 * time.Millisecond}, {"wav", "pcm", 0}, {"aiff", "pcm", 0},
	} {
		t.Run(tt.ext, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "a."+tt.ext)
			args := []string{"-v", "error", "-f", "lavfi", "-i", "sine=440:d=2:r=48000", "-ac", "2", "-metadata", "title=Tïtle", "-metadata", "artist=Ärtist",
				"-metadata", "album=Album", "-metadata", "track=3/7", "-metadata", "date=2020", "-write_id3v2", "1", path}
			if tt.ext != "aiff" {
				args = append(args[:len(args)-3], path)
			}
			if msg, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
				t.Fatalf("ffmpeg (a requirement of Segue): %v\n%s", err, msg)
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			got, err := tag.Read(f, info.Size())
			if err != nil {
				t.Fatal(err)
			}
			if got.Codec != tt.codec || got.Title != "Tïtle" || len(got.Artists) != 1 || got.Artists[0] != "Ärtist" || got.Album != "Album" || got.Track != 3 || got.Date != "2020" {
				t.Errorf("%+v", got)
			}
			if got.Rate != 48000 || got.Channels != 2 || got.BitRate == 0 || (got.Duration-2*time.Second).Abs() > tt.slack+time.Millisecond {
				t.Errorf("%d Hz, %d channels, %d bit/s, %v", got.Rate, got.Channels, got.BitRate, got.Duration)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	for _, b := range [][]byte{
		join(id3tag(4, 0, frame(4, "TIT2", text(3, "a\x00b")), frame(4, "APIC", cover([]byte("x")))), xing(3), mpegFrames(3)),
		join(id3tag(3, 0x80, frame(3, "TPE1", text(1, "Ж"))), mpegFrames(3)),
		join(id3tag(2, 0, frame(2, "TT2", text(0, "x")), frame(2, "PIC", []byte("\x00PNG\x03\x00abc"))), mpegFrames(3)),
		flacFile(flacBlock(false, 4, comments("TITLE=a", base64Picture())), flacBlock(true, 6, pictureBlock(3, "image/png", "", []byte("x")))),
		opusFile("ARTIST=a feat. b", base64Picture()), vorbisFile("TITLE=a"),
		mp4File(true, box("\xa9nam", data(1, []byte("M"))), box("covr", data(14, []byte("x"))), freeform("ISRC", "a"))[:900],
		mp4File(false, box("trkn", data(0, make([]byte, 8))))[:900],
		wavFile(join([]byte("LIST"), le32(18), []byte("INFOINAM"), le32(6), []byte("Inner\x00")))[:300],
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := tag.Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for _, s := range append([]string{got.Title, got.Album, got.Comment, got.Lyrics, got.ArtistCredit, got.Codec}, got.Artists...) {
			if !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\x1b\u202e") || len(s) > 64<<10 {
				t.Errorf("unclean %q", s)
			}
		}
		if got.Duration < 0 || got.BitRate < 0 {
			t.Errorf("%v, %d", got.Duration, got.BitRate)
		}
		for i := range got.Pictures {
			if p, err := got.Pictures[i].Read(bytes.NewReader(b)); err == nil && len(p) > len(b) {
				t.Errorf("picture of %d bytes in a file of %d", len(p), len(b))
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	in := join(id3tag(4, 0, frame(4, "TIT2", text(3, "Title")), frame(4, "TPE1", text(3, "Artist")), frame(4, "APIC", cover(make([]byte, 200<<10)))), xing(5000), mpegFrames(5000))
	path := filepath.Join(b.TempDir(), "a.mp3")
	if err := os.WriteFile(path, in, 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := tag.Read(f, int64(len(in))); err != nil {
			b.Fatal(err)
		}
		_ = f.Close()
	}
}
