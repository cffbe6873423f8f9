//go:build system && fault

package system

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
)

// inputWorld is one server that everything bad is sent to.
func inputWorld(t *testing.T) (*deployment, *person) {
	d := single(t, append(slices.Clone(unlimited), "-upload.watch={dir}/watched", "-upload.workers=1", "-upload.settle=100ms", "-upload.max-duration=3m")...)
	d.login()
	return d, d.admin()
}

// encoded is a file of noise in a format.
func (d *deployment) encoded(name string, seconds, seed int, more ...string) []byte {
	d.Helper()
	b, err := os.ReadFile(d.noise(name, seconds, seed, more...))
	if err != nil {
		d.Fatal(err)
	}
	return b
}

// survives sends a good file: whatever came before, it is taken in whole.
func (d *deployment) survives(admin *person, seed int) {
	d.Helper()
	title := fmt.Sprintf("Good %d", seed)
	admin.reaches(admin.sent("good.flac", d.encoded("good.flac", 1, seed, tags(title, "Good")...)), uploadv1.UploadState_UPLOAD_STATE_COMPLETE)
	if d.track(title).State != "complete" {
		d.Errorf("%s is %s", title, d.track(title).State)
	}
	if d.procs[0].cmd.ProcessState != nil {
		d.Error("the process has ended")
	}
}

// refused looks at an upload that must have failed: its sentence, and the event.
func (d *deployment) refused(admin *person, what, id string, codes ...string) {
	d.Helper()
	u := admin.reaches(id, uploadv1.UploadState_UPLOAD_STATE_FAILED)
	if !sentence.MatchString(u.GetReason()) {
		d.Errorf("%s: reason %q is no sentence for a person", what, u.GetReason())
	}
	d.until(20*time.Second, "the event UploadRejected", func() error {
		told := d.events(admin, "UploadRejected", "upload:"+id)
		if len(told) != 1 {
			return errorf("%d events", len(told))
		}
		if told[0].Payload["reason"] != u.GetReason() || !slices.Contains(codes, fmt.Sprint(told[0].Payload["code"])) {
			d.Errorf("%s: the event says %v, want one of %v", what, told[0].Payload, codes)
		}
		return nil
	})
	d.Logf("%-22s %s", what, u.GetReason())
}

func zipOf(name string, content []byte) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if w, err := z.Create(name); err == nil {
		_, _ = w.Write(content) // to memory
	}
	_ = z.Close()
	return b.Bytes()
}

func tarOf(name string, content []byte) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content))}) // to memory
	_, _ = w.Write(content)
	_ = w.Close()
	return b.Bytes()
}

// TestFault_Input_NotAudio sends what is no sound, or not all of it.
func TestFault_Input_NotAudio(t *testing.T) {
	d, admin := inputWorld(t)
	flac := d.encoded("whole.flac", 8, 1)
	secret := d.file("data-secrets")
	files := map[string]struct {
		name    string
		content []byte
		codes   []string
	}{
		"m3u":            {"list.mp3", []byte("#EXTM3U\n#EXTINF:1,x\n/etc/passwd\n"), []string{"not_audio"}},
		"hls":            {"hls.mp3", []byte("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://" + secret + "\n#EXT-X-ENDLIST\n"), []string{"not_audio"}},
		"hls_byterange":  {"key.mp3", []byte("#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"file://" + secret + "\"\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nsubfile,,start,0,end,64,,:" + secret + "\n#EXT-X-ENDLIST\n"), []string{"not_audio"}},
		"concat":         {"concat.mp3", []byte("ffconcat version 1.0\nfile '" + secret + "'\n"), []string{"not_audio"}},
		"zip":            {"zip.mp3", zipOf("song.flac", flac), []string{"not_audio"}},
		"tar":            {"tar.mp3", tarOf("song.flac", flac), []string{"not_audio", "truncated"}},
		"text":           {"text.mp3", []byte("no music\n"), []string{"not_audio"}},
		"one_byte":       {"byte.mp3", []byte{0xff}, []string{"not_audio"}},
		"zeros":          {"zeros.mp3", make([]byte, 1<<20), []string{"not_audio"}},
		"truncated_flac": {"t.flac", flac[:len(flac)/3], []string{"truncated"}},
		"truncated_mp3":  {"t.mp3", cutTo(d.encoded("whole.mp3", 8, 2), 3), []string{"truncated"}},
		"truncated_ogg":  {"t.ogg", cutTo(d.encoded("whole.ogg", 8, 3), 3), []string{"truncated", "not_audio"}},
		"truncated_m4a":  {"t.m4a", cutTo(d.encoded("whole.m4a", 8, 4), 3), []string{"not_audio", "truncated"}},
	}
	ids := map[string]string{}
	for what, f := range files {
		ids[what] = admin.sent(f.name, f.content)
	}
	for what, f := range files {
		d.Run(what, func(t *testing.T) {
			own := *d
			own.T = t
			own.refusedOrShort(admin, what, ids[what], f.codes...)
		})
	}
	// Nothing at all.
	if _, status := admin.send("empty.mp3", nil); status != http.StatusBadRequest {
		t.Errorf("an empty file: status %d", status)
	}
	if err := os.WriteFile(d.file("empty.mp3"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, diag, err := d.ctl("", "upload", d.file("empty.mp3"))
	if err == nil || !strings.Contains(out+diag, "empty") {
		t.Errorf("seguectl upload of an empty file: %v %q %q", err, out, diag)
	}
	if err := os.WriteFile(d.file("list.mp3"), files["hls"].content, 0o600); err != nil {
		t.Fatal(err)
	}
	out, diag, err = d.ctl("", "upload", "--wait", d.file("list.mp3"))
	if err == nil || !strings.Contains(out+diag, "The file holds no sound that can be decoded.") || strings.Contains(out+diag, "ffmpeg") || strings.Contains(out+diag, "/proc") {
		t.Errorf("seguectl upload of a playlist: %v %q %q", err, out, diag)
	}
	d.survives(admin, 90)
}

func cutTo(b []byte, part int) []byte { return b[:len(b)/part] }

// refusedOrShort is refused, but an MP3 or Ogg file without a length of its own may as
// well be taken as the shorter file that it is.
func (d *deployment) refusedOrShort(admin *person, what, id string, codes ...string) {
	d.Helper()
	if strings.HasPrefix(what, "truncated_mp3") || strings.HasPrefix(what, "truncated_ogg") {
		d.until(60*time.Second, "the end", func() error {
			if s := admin.upload(id).GetState(); s != uploadv1.UploadState_UPLOAD_STATE_COMPLETE && s != uploadv1.UploadState_UPLOAD_STATE_FAILED {
				return errorf("%s", s)
			}
			return nil
		})
		if u := admin.upload(id); u.GetState() == uploadv1.UploadState_UPLOAD_STATE_COMPLETE {
			d.Logf("%-22s is taken as the shorter file that it is", what)
			return
		}
	}
	d.refused(admin, what, id, codes...)
}

// TestFault_Input_Long sends hours of silence that are small on disk: the bound on the
// decoded length ends them, whatever the header says.
func TestFault_Input_Long(t *testing.T) {
	d, admin := inputWorld(t)
	make := func(name, length string) []byte {
		out, err := exec.Command("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono:d="+length, "-c:a", "flac", "-compression_level", "0", d.file(name)).CombinedOutput()
		if err != nil {
			t.Fatalf("%v %s", err, out)
		}
		b, err := os.ReadFile(d.file(name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	start := time.Now()
	long := make("long.flac", "43200")
	t.Logf("12 hours in %d bytes, made in %s", len(long), time.Since(start).Round(time.Second))
	start = time.Now()
	id := admin.sent("long.flac", long)
	d.refused(admin, "12_hours", id, "too_long")
	t.Logf("12 hours: refused after %s", time.Since(start).Round(10*time.Millisecond))
	unsaid := make("unsaid.flac", "600")
	at := bytes.Index(unsaid, []byte("fLaC")) + 8 + 13
	unsaid[at] &= 0xf0 // the number of samples is not known
	clear(unsaid[at+1 : at+5])
	start = time.Now()
	id = admin.sent("unsaid.flac", unsaid)
	d.refused(admin, "length_unsaid", id, "too_long")
	t.Logf("10 minutes of no stated length, bound 3: ended after %s", time.Since(start).Round(10*time.Millisecond))
	d.survives(admin, 91)
}

// TestFault_Input_IndexAtEnd: an M4A with its index behind its sound works.
func TestFault_Input_IndexAtEnd(t *testing.T) {
	d, admin := inputWorld(t)
	b := d.encoded("end.m4a", 4, 5, append([]string{"-movflags", "0"}, tags("Index at the end", "M4A")...)...)
	if moov, mdat := bytes.Index(b, []byte("moov")), bytes.Index(b, []byte("mdat")); moov < mdat || mdat < 0 {
		t.Fatalf("moov at %d, mdat at %d", moov, mdat)
	}
	admin.reaches(admin.sent("end.m4a", b), uploadv1.UploadState_UPLOAD_STATE_COMPLETE)
	if got := d.track("Index at the end"); got.DurationMS < 3900 || got.DurationMS > 4100 {
		t.Errorf("%d ms", got.DurationMS)
	}
}

// flacBlock is one metadata block of a FLAC file.
type flacBlock struct {
	kind byte
	body []byte
}

// flacWith puts blocks in the place of the comments and pictures of a FLAC file.
func flacWith(t *testing.T, flac []byte, blocks ...flacBlock) []byte {
	t.Helper()
	if !bytes.HasPrefix(flac, []byte("fLaC")) {
		t.Fatal("no FLAC file")
	}
	out := append([]byte{}, flac[:4+4+34]...)
	out[4] &= 0x7f
	for _, b := range blocks {
		if len(b.body) >= 1<<24 {
			t.Fatal("block is too large for the format")
		}
		out = append(out, b.kind, byte(len(b.body)>>16), byte(len(b.body)>>8), byte(len(b.body)))
		out = append(out, b.body...)
	}
	out = append(out, 0x81, 0, 0, 0) // padding, the last one
	rest := flac[4:]
	for {
		last, n := rest[0]&0x80 != 0, int(rest[1])<<16|int(rest[2])<<8|int(rest[3])
		rest = rest[4+n:]
		if last {
			return append(out, rest...)
		}
	}
}

func comments(fields ...string) flacBlock {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 4)
	b = append(b, "evil"...)
	b = le.AppendUint32(b, uint32(len(fields)))
	for _, f := range fields {
		b = le.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	return flacBlock{4, b}
}

// bombPNG is a grey picture of so many pixels, of nothing.
func bombPNG(t *testing.T, side int) []byte {
	t.Helper()
	var idat bytes.Buffer
	z := zlib.NewWriter(&idat)
	row := make([]byte, 1+(side+7)/8)
	for range side {
		if _, err := z.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	be := binary.BigEndian
	ihdr := append(be.AppendUint32(be.AppendUint32(nil, uint32(side)), uint32(side)), 1, 0, 0, 0, 0)
	out := []byte("\x89PNG\r\n\x1a\n")
	for _, c := range []struct {
		name string
		body []byte
	}{{"IHDR", ihdr}, {"IDAT", idat.Bytes()}, {"IEND", nil}} {
		out = be.AppendUint32(out, uint32(len(c.body)))
		part := append([]byte(c.name), c.body...)
		out = append(out, part...)
		out = be.AppendUint32(out, crc32.ChecksumIEEE(part))
	}
	return out
}

func picture(mime string, data []byte) flacBlock {
	be := binary.BigEndian
	b := be.AppendUint32(nil, 3)
	b = append(be.AppendUint32(b, uint32(len(mime))), mime...)
	b = be.AppendUint32(b, 0)
	for range 4 {
		b = be.AppendUint32(b, 0)
	}
	return flacBlock{6, append(be.AppendUint32(b, uint32(len(data))), data...)}
}

// TestFault_Input_Cover: a cover of 30,000 by 30,000 pixels, and other pictures that are
// none, cost the track nothing but its cover, and the log says so.
func TestFault_Input_Cover(t *testing.T) {
	d, admin := inputWorld(t)
	bomb := bombPNG(t, 30_000)
	t.Logf("30,000 by 30,000 pixels in %d bytes", len(bomb))
	for i, c := range []struct {
		name, says string
		data       []byte
	}{
		{"bomb", "too many pixels", bomb},
		{"text", "no picture", []byte("not a picture")},
		{"cut_jpeg", "no picture", []byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00")},
		{"one_pixel", "too small", bombPNG(t, 1)},
	} {
		before := d.rss()
		flac := flacWith(t, d.encoded("plain.flac", 1, 30+i), comments("TITLE=Cover "+c.name, "ARTIST=A"), picture("image/png", c.data))
		id := admin.sent(c.name+".flac", flac)
		admin.reaches(id, uploadv1.UploadState_UPLOAD_STATE_COMPLETE)
		if grown := d.rss() - before; grown > 200<<20 {
			t.Errorf("%s: memory grew by %d MB", c.name, grown>>20)
		}
		d.until(20*time.Second, "the warning", func() error {
			told := d.events(admin, "IngestStepFailed", "upload:"+id)
			if len(told) != 1 {
				return errorf("%d events", len(told))
			}
			reason := fmt.Sprint(told[0].Payload["reason"])
			if told[0].Payload["step"] != "cover" || !strings.Contains(reason, c.says) || !sentence.MatchString(reason) {
				t.Errorf("%s: the event says %v", c.name, told[0].Payload)
			}
			return nil
		})
		res, err := admin.Catalogue.GetTracks(t.Context(), &metadatav1.GetTracksRequest{Ids: []string{d.track("Cover " + c.name).ID}})
		if err != nil || res.GetTracks()[0].GetArtwork().GetId() != "" {
			t.Errorf("%s: %v has a cover: %v", c.name, res.GetTracks(), err)
		}
	}
}

// rss is the memory of the process, in bytes.
func (d *deployment) rss() (n int) {
	d.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.procs[0].cmd.Process.Pid))
	if err != nil {
		d.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "VmRSS:")
	_, _ = fmt.Sscan(after, &n)
	return n << 10
}

// TestFault_Input_Tags: whatever the tags hold, the track is taken in, and what is shown
// of them is clean.
func TestFault_Input_Tags(t *testing.T) {
	d, admin := inputWorld(t)
	many := []string{"TITLE=Tags many"}
	for i := range 5000 {
		many = append(many, fmt.Sprintf("ARTIST=Artist %d", i), fmt.Sprintf("X%d=y", i))
	}
	lie := comments("TITLE=Tags lie")
	binary.LittleEndian.PutUint32(lie.body[8:], 1<<31) // as many fields as the number can say
	for name, c := range map[string]flacBlock{
		"control": comments("TITLE=Tags\x00\x07\x1b[31mcontrol\r\n\t", "ARTIST=A\u0085B"),
		"bidi":    comments("TITLE=Tags \u202egnp.exe\u2066bidi\u2069", "ARTIST=\u200f\u202bA"),
		"long":    comments("TITLE=Tags long", "ARTIST="+strings.Repeat("A", 1<<20), "COMMENT="+strings.Repeat("c", 1<<20), "ALBUM="+strings.Repeat("\u0301", 1<<19)),
		"utf8":    comments("TITLE=Tags \xff\xfe\xc3utf8", "ARTIST=\xf0\x9f"),
		"markup":  comments("TITLE=Tags <script>alert(1)</script>", "ARTIST='; DROP TABLE tracks; --"),
		"numbers": comments("TITLE=Tags numbers", "ARTIST=A", "TRACKNUMBER=99999999999999999999/-1", "DATE=-5000-99-99", "DISCNUMBER=NaN"),
		"many":    comments(many...),
		"lie":     lie,
		"empty":   comments("", "=", "TITLE=", "ARTIST= "),
	} {
		t.Run(name, func(t *testing.T) {
			own := *d
			own.T = t
			id := admin.sent("tags-"+name+".flac", flacWith(t, own.encoded("plain.flac", 1, 60+len(name)*7+int(name[0])), c))
			u := admin.reaches(id, uploadv1.UploadState_UPLOAD_STATE_COMPLETE)
			res, err := admin.Catalogue.GetTracks(t.Context(), &metadatav1.GetTracksRequest{Ids: []string{u.GetTrackId()}})
			if err != nil || len(res.GetTracks()) != 1 {
				t.Fatal(res, err)
			}
			track := res.GetTracks()[0]
			texts := []string{track.GetTitle(), track.GetAlbumTitle()}
			for _, a := range track.GetCredits() {
				texts = append(texts, a.GetArtist().GetName(), a.GetJoin())
			}
			for _, s := range texts {
				if !utf8.ValidString(s) || len(s) > 2048 || strings.ContainsFunc(s, hidden) {
					t.Errorf("%d bytes: %.80q", len(s), s)
				}
			}
			if track.GetTitle() == "" || len(track.GetCredits()) > 256 {
				t.Errorf("title %q, %d artists", track.GetTitle(), len(track.GetCredits()))
			}
		})
	}
	d.must("tracks")
	d.survives(admin, 92)
}

// hidden are characters that show nothing, or show something as something else.
func hidden(r rune) bool {
	return unicode.IsControl(r) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == utf8.RuneError
}
