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
			if _, err := r.Probe(context.Background(), stage(t, "evil.mp3", b)); !errors.Is(err, ffmpeg.ErrNotAudio) {
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
