package ffmpeg_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segue-music/segue/audio/ffmpeg"
	"github.com/segue-music/segue/audio/ogg"
)

func TestNew_Protections(t *testing.T) {
	r := newRunner(t, ffmpeg.Config{})
	t.Logf("in force: %v; missing: %v; %s", r.Protections(), r.Missing(), r.Version())
	for _, p := range []ffmpeg.Protection{ffmpeg.Limits, ffmpeg.NoNewPrivs, ffmpeg.Seccomp} {
		if !slices.Contains(r.Protections(), p) {
			t.Errorf("no %s", p)
		}
	}
}

func TestNew_refuses(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		cfg  ffmpeg.Config
	}{
		{"unknown_protection", ffmpeg.Config{Self: self, SelfArgs: []string{"sandbox-exec"}, Require: []ffmpeg.Protection{"moat"}}},
		{"self_is_no_sandbox", ffmpeg.Config{Self: "/bin/true"}},
		{"too_little_memory", ffmpeg.Config{Self: self, SelfArgs: []string{"sandbox-exec"}, MaxMemory: 1 << 20}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ffmpeg.New(context.Background(), tt.cfg); !errors.Is(err, ffmpeg.ErrSandbox) {
				t.Errorf("error %v, want ErrSandbox", err)
			}
		})
	}
}

// listener counts connections: an attack that reaches it has won.
func listener(t *testing.T) (string, func() bool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	reached := make(chan struct{}, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			reached <- struct{}{}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String(), func() bool { return len(reached) > 0 }
}

func zipped(t *testing.T) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("song.mp3")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte("la"), 5000)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// attacks are files that must not decode, and must reach nothing on the way.
func attacks(t *testing.T, addr string) map[string][]byte {
	secret := filepath.Join(t.TempDir(), "secret.wav")
	if err := os.WriteFile(secret, wave(1, 44100, 2), 0o644); err != nil {
		t.Fatal(err)
	}
	hls := func(uri string) []byte {
		return fmt.Appendf(nil, "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10.0,\n%s\n#EXT-X-ENDLIST\n", uri)
	}
	return map[string][]byte{
		"hls_network":     hls("http://" + addr + "/a.ts"),
		"hls_passwd":      hls("file:///etc/passwd"),
		"hls_local_audio": hls(secret),
		"hls_concat":      hls("concat:http://" + addr + "/x|file:///etc/passwd"),
		"concat_script":   []byte("ffconcat version 1.0\nfile '" + secret + "'\n"),
		"concat_network":  []byte("ffconcat version 1.0\nfile 'http://" + addr + "/a.mp3'\n"),
		"dash":            []byte(`<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>http://` + addr + `/</BaseURL></Representation></AdaptationSet></Period></MPD>`),
		"hls_key":         []byte("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-KEY:METHOD=AES-128,URI=\"file://" + secret + "\"\n#EXTINF:10,\nhttp://" + addr + "/a.ts\n#EXT-X-ENDLIST\n"),
		"hls_data":        hls("data:audio/wav;base64,UklGRiQAAABXQVZFZm10IBAAAAABAAEAgD4AAAB9AAACABAAZGF0YQAAAAA="),
		"hls_subfile":     hls("subfile,,start,0,end,0,,:" + secret),
		"hls_fd":          hls("/proc/self/fd/0"),
		"hls_pipe":        hls("pipe:0"),
		"hls_crypto":      hls("crypto+file://" + secret),
		"hls_udp":         hls("udp://" + addr),
		"hls_unix":        hls("unix:" + secret),
		"m3u":             []byte("#EXTM3U\n" + secret + "\n"),
		"pls":             []byte("[playlist]\nFile1=" + secret + "\nNumberOfEntries=1\n"),
		"asx":             []byte("<asx version=\"3.0\"><entry><ref href=\"http://" + addr + "/\"/></entry></asx>"),
		"xspf":            []byte("<?xml version=\"1.0\"?><playlist xmlns=\"http://xspf.org/ns/0/\"><trackList><track><location>file://" + secret + "</location></track></trackList></playlist>"),
		"concat_fd":       []byte("ffconcat version 1.0\nfile 'file:/proc/self/fd/3'\n"),
		"concat_protocol": []byte("ffconcat version 1.0\nfile 'concat:" + secret + "|" + secret + "'\n"),
		"mov_reference":   movReference(secret),
		"lavfi":           []byte("amovie=" + secret),
		"svg":             []byte("<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\"><image xlink:href=\"http://" + addr + "/x.png\"/></svg>"),
		"sdp":             []byte("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"),
		"ffmetadata":      []byte(";FFMETADATA1\ntitle=x\n"),
		"zip":             zipped(t),
		"html":            []byte("<html><script>alert(1)</script></html>"),
		"noise":           bytes.Repeat([]byte{0x13, 0x37, 0xff, 0x00, 0xaa}, 4000),
		"one_byte":        {0xff},
		"zeros":           make([]byte, 100000),
		"empty":           {},
	}
}

// movReference is a QuickTime file whose samples lie in another file, which its data
// reference names by an absolute path (an alias of type 2).
func movReference(path string) []byte {
	be := binary.BigEndian
	box := func(name string, parts ...[]byte) []byte {
		body := bytes.Join(parts, nil)
		return append(append(be.AppendUint32(nil, uint32(8+len(body))), name...), body...)
	}
	words := func(v ...uint32) (b []byte) {
		for _, w := range v {
			b = be.AppendUint32(b, w)
		}
		return b
	}
	alias := make([]byte, 150)
	be.PutUint16(alias[6:], 2)
	be.PutUint16(alias[130:], 0xffff) // no levels to go up or down
	alias = append(be.AppendUint16(be.AppendUint16(alias, 2), uint16(len(path))), path...)
	alias = append(alias, 0xff, 0xff, 0, 0)
	const samples = 1000
	entry := slices.Concat(words(0, 1), words(0, 0), be.AppendUint16(be.AppendUint16(nil, 2), 16), words(0, 44100<<16))
	return slices.Concat(box("ftyp", []byte("qt  "), words(0), []byte("qt  ")), box("moov",
		box("mvhd", words(0, 0, 0, 44100, samples, 0x10000), make([]byte, 76)),
		box("trak", box("tkhd", words(1, 0, 0, 1, 0, samples), make([]byte, 60)),
			box("mdia", box("mdhd", words(0, 0, 0, 44100, samples, 0)), box("hdlr", words(0), []byte("mhlrsoun"), make([]byte, 13)),
				box("minf", box("smhd", words(0, 0)), box("dinf", box("dref", words(0, 1), box("alis", words(0), alias))),
					box("stbl", box("stsd", words(0, 1), box("sowt", entry)), box("stts", words(0, 1, samples, 1)),
						box("stsc", words(0, 1, 1, samples, 1)), box("stsz", words(0, 4, samples)), box("stco", words(0, 1, 44))))))))
}

// TestRunner_hangs puts a program that never ends in the place of ffmpeg: the limit on
// time ends one that waits, that on CPU time one that works.
func TestRunner_hangs(t *testing.T) {
	t.Parallel()
	for how, want := range map[string]ffmpeg.Limit{"waits": ffmpeg.LimitWall, "works": ffmpeg.LimitCPU} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			// The copy's name says what it does: its arguments and environment are ffmpeg's.
			fake := filepath.Join(t.TempDir(), "ffmpeg-that-"+how)
			b, err := os.ReadFile(self)
			if err == nil {
				err = os.WriteFile(fake, b, 0o700)
			}
			if err != nil {
				t.Fatal(err)
			}
			cfg := ffmpeg.Config{FFmpeg: fake, MaxMemory: 4 << 30, MaxWall: 5 * time.Second, MaxCPU: time.Minute}
			if how == "works" {
				cfg.MaxWall, cfg.MaxCPU = time.Minute, time.Second
			}
			_, err = newRunner(t, cfg).Transcode(t.Context(), ffmpeg.Job{Source: stage(t, "a.wav", wave(1, 44100, 2))})
			var killed *ffmpeg.KilledError
			if !errors.As(err, &killed) || killed.Limit != want {
				t.Errorf("error %v, want the limit %s", err, want)
			}
		})
	}
}

func TestRunner_attacks(t *testing.T) {
	t.Parallel()
	r := newRunner(t, ffmpeg.Config{})
	addr, reached := listener(t)
	for name, b := range attacks(t, addr) {
		t.Run(name, func(t *testing.T) {
			var pcm bytes.Buffer
			_, err := r.Transcode(context.Background(), ffmpeg.Job{Source: stage(t, "evil.mp3", b), PCM: &pcm})
			if !errors.Is(err, ffmpeg.ErrNotAudio) || pcm.Len() > 0 {
				t.Errorf("error %v, %d bytes of PCM", err, pcm.Len())
			}
			if strings.ContainsAny(fmt.Sprint(err), "\n\x1b") {
				t.Errorf("error is not clean: %q", err)
			}
			// What the index of a file says is told; what it refers to is not read.
			if _, err := r.Probe(context.Background(), stage(t, "evil.mp3", b)); name != "mov_reference" && !errors.Is(err, ffmpeg.ErrNotAudio) {
				t.Errorf("probe: error %v", err)
			}
			if reached() {
				t.Fatal("the network was reached")
			}
		})
	}
}

func TestRunner_Transcode_source(t *testing.T) {
	t.Parallel()
	r := newRunner(t, ffmpeg.Config{})
	path := filepath.Join(t.TempDir(), "a.wav")
	if err := os.WriteFile(path, wave(0.1, 44100, 2), 0o600); err != nil {
		t.Fatal(err)
	}
	rw, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer rw.Close()
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for name, f := range map[string]*os.File{"nil": nil, "writable": rw, "folder": dir} {
		if _, err := r.Transcode(context.Background(), ffmpeg.Job{Source: f}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	// The name may be gone already, and the offset anywhere.
	gone := stage(t, "b.wav", wave(0.5, 44100, 2))
	if err := os.Remove(gone.Name()); err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Seek(100, 0); err != nil {
		t.Fatal(err)
	}
	if res, err := r.Transcode(context.Background(), ffmpeg.Job{Source: gone}); err != nil || res.Samples != 22050 {
		t.Errorf("unlinked file: %+v, %v", res, err)
	}
}

// TestRunner_cpu_bomb decodes hours of silence that compress to little: the CPU
// limit ends it.
func TestRunner_cpu_bomb(t *testing.T) {
	t.Parallel()
	r := newRunner(t, ffmpeg.Config{MaxCPU: time.Second})
	job, _, _ := allOutputs()
	job.PCM = nil
	job.Source = stage(t, "bomb.wav", silentWAV(t, time.Hour))
	_, err := r.Transcode(context.Background(), job)
	var killed *ffmpeg.KilledError
	if !errors.As(err, &killed) || killed.Limit != ffmpeg.LimitCPU {
		t.Errorf("error %v, want the CPU limit", err)
	}
}

// silentWAV is 8 kHz, 8 bit, mono: 8 KB for a second.
func silentWAV(t *testing.T, d time.Duration) []byte {
	t.Helper()
	b := wave(0, 8000, 1)
	n := int(d.Seconds()) * 8000
	le := binary.LittleEndian
	le.PutUint32(b[4:], uint32(36+n))
	le.PutUint32(b[28:], 8000)
	le.PutUint16(b[32:], 1)
	le.PutUint16(b[34:], 8)
	le.PutUint32(b[40:], uint32(n))
	return append(b, bytes.Repeat([]byte{0x80}, n)...)
}

func TestRunner_Transcode_truncated(t *testing.T) {
	t.Parallel()
	r := newRunner(t, ffmpeg.Config{})
	in := wave(4, 44100, 2)
	for ext, args := range map[string][]string{
		"flac": nil, "mp3": nil, "ogg": nil, "wav": nil,
		"m4a": {"-movflags", "+faststart"},
	} {
		t.Run(ext, func(t *testing.T) {
			b := convert(t, in, ext, args...)
			res, err := r.Transcode(context.Background(), ffmpeg.Job{Source: stage(t, "x", b[:len(b)*6/10]), Expect: 4 * time.Second})
			if !errors.Is(err, ffmpeg.ErrTruncated) {
				t.Fatalf("error %v", err)
			}
			if res.Duration() < time.Second {
				t.Errorf("%v decoded", res.Duration())
			}
		})
	}
}

// TestRunner_Transcode_damaged takes a piece out of the middle: the renditions
// agree with the PCM even where the source's time stamps jump.
func TestRunner_Transcode_damaged(t *testing.T) {
	t.Parallel()
	r := newRunner(t, ffmpeg.Config{})
	in := wave(2, 44100, 2)
	for _, ext := range []string{"flac", "mp3", "ogg", "opus", "m4a", "wv", "aac"} {
		t.Run(ext, func(t *testing.T) {
			b := convert(t, in, ext)
			a, z := len(b)*4/10, len(b)*5/10
			zeroed := bytes.Clone(b)
			clear(zeroed[a:z])
			for name, bad := range map[string][]byte{"cut": slices.Concat(b[:a], b[z:]), "zeroed": zeroed} {
				job, pcm, files := allOutputs()
				job.Source = stage(t, "x", bad)
				res, err := r.Transcode(context.Background(), job)
				if err != nil && !errors.Is(err, ffmpeg.ErrTruncated) && !errors.Is(err, ffmpeg.ErrNotAudio) {
					t.Fatalf("%s: %v", name, err)
				}
				if err != nil {
					continue
				}
				if res.Samples != uint64(pcm.Len()/4) || res.Totals[1] != res.Samples || res.Totals[3] != res.Samples {
					t.Errorf("%s: %+v", name, res)
				}
				for i, f := range files {
					s, err := ogg.Split(f)
					if err != nil || s.TotalSamples != res.Totals[i] {
						t.Errorf("%s: output %d: %v", name, i, err)
					}
				}
			}
		})
	}
}
