//go:build system && fault

package system

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
)

// decoders are the ffmpeg processes that segue has started.
func (d *deployment) decoders() (pids []int) {
	d.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		d.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		var pid, parent int
		var state string
		open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
		_, err1 := fmt.Sscan(string(b[:open]), &pid)
		_, err2 := fmt.Sscan(string(b[end+1:]), &state, &parent)
		if err1 == nil && err2 == nil && parent == d.procs[0].cmd.Process.Pid && string(b[open+1:end]) == "ffmpeg" && state != "Z" {
			pids = append(pids, pid)
		}
	}
	return pids
}

// signalled sends every decoder a signal, at most so many of them, until stop.
func (d *deployment) signalled(sig syscall.Signal, most int64) (count *atomic.Int64, stop func()) {
	ctx, cancel := context.WithCancel(d.Context())
	count = &atomic.Int64{}
	seen := map[int]bool{}
	var g sync.WaitGroup
	g.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for _, pid := range d.decoders() {
				if !seen[pid] && count.Load() < most {
					seen[pid] = true
					if syscall.Kill(pid, sig) == nil {
						count.Add(1)
					}
				}
			}
		}
	})
	return count, func() { cancel(); g.Wait() }
}

// TestFault_KillFFmpeg kills the decoder from outside, stops it, and gives it more work
// than its limits allow. The job is tried again, then given up with a reason; the worker
// lives, and what is put back works.
func TestFault_KillFFmpeg(t *testing.T) {
	d := single(t, append([]string{"-upload.workers=1", "-upload.max-decode-time=20s", "-upload.max-decode-cpu=3s"}, unlimited...)...)
	d.login()
	admin := d.admin()

	count, stop := d.signalled(syscall.SIGKILL, 1)
	id := admin.sent("once.flac", d.encoded("once.flac", 8, 600, tags("Killed once", "Decoder")...))
	u := admin.reaches(id, uploadv1.UploadState_UPLOAD_STATE_COMPLETE)
	stop()
	if count.Load() != 1 {
		t.Errorf("%d decoders were killed", count.Load())
	}
	d.tried(admin, id, 1, false)
	t.Logf("one SIGKILL: %s after another try", u.GetState())

	count, stop = d.signalled(syscall.SIGKILL, 1000)
	id = admin.sent("always.flac", d.encoded("always.flac", 8, 601, tags("Killed always", "Decoder")...))
	d.refused(admin, "killed again and again", id, "decoder")
	stop()
	d.tried(admin, id, int(count.Load()), true)
	t.Logf("SIGKILL each time: given up after %d tries", count.Load())
	d.retry(admin, id)

	count, stop = d.signalled(syscall.SIGSTOP, 1000)
	id = admin.sent("hangs.flac", d.encoded("hangs.flac", 8, 602, tags("Hangs", "Decoder")...))
	d.refused(admin, "hangs", id, "decoder")
	stop()
	t.Logf("hanging each time: ended by the time limit %d times", count.Load())
	if left := d.decoders(); len(left) > 0 {
		t.Errorf("decoders are left: %v", left)
	}

	out, err := exec.Command("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono:d=20000", "-c:a", "flac", d.file("bomb.flac")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	bomb, err := os.ReadFile(d.file("bomb.flac"))
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	id = admin.sent("bomb.flac", bomb)
	d.refused(admin, "decompression bomb", id, "too_costly", "decoder")
	t.Logf("5.5 hours of silence in %d bytes: ended after %s", len(bomb), time.Since(begin).Round(100*time.Millisecond))
	d.survives(admin, 95)
}

// tried looks at the events of failed tries: all but the last are to be tried again.
func (d *deployment) tried(admin *person, id string, n int, final bool) {
	d.Helper()
	d.until(20*time.Second, "events of failed tries", func() error {
		told := d.events(admin, "IngestStepFailed", "upload:"+id)
		if len(told) != n {
			return errorf("%d events, want %d", len(told), n)
		}
		for i, e := range told {
			got, _ := e.Payload["final"].(bool)
			if want := final && i == n-1; got != want {
				d.Errorf("try %d: final is %v", i+1, got)
			}
		}
		return nil
	})
}

// retry puts a dead letter back, and it works.
func (d *deployment) retry(admin *person, id string) {
	d.Helper()
	if _, err := admin.Uploads.RetryUpload(d.Context(), &uploadv1.RetryUploadRequest{Id: id}); err != nil {
		d.Fatal(err)
	}
	admin.reaches(id, uploadv1.UploadState_UPLOAD_STATE_COMPLETE)
}

// TestFault_Sandbox runs ffmpeg in the sandbox of the built program with every protocol
// allowed: whatever its arguments and its input say, it reads neither the key ring nor
// anything else, and reaches no network.
func TestFault_Sandbox(t *testing.T) {
	d := single(t)
	var key string
	err := filepath.Walk(d.file("data-secrets"), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			key = path
		}
		return err
	})
	if err != nil || key == "" {
		t.Fatalf("no key: %v", err)
	}
	secret, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err == nil {
		ffmpeg, err = filepath.EvalSymlinks(ffmpeg)
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var reached atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			_ = c.Close()
		}
	}()
	harmless := bytes.Repeat([]byte("harmless"), 100)
	inBox := func(boxed bool, source []byte, in ...string) (string, string) {
		t.Helper()
		if err := os.WriteFile(d.file("source"), source, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(d.file("source"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		argv := append([]string{ffmpeg, "-nostdin", "-v", "error", "-threads", "1"}, in...)
		argv = append(argv, "-map", "0", "-c", "copy", "-f", "data", "pipe:1")
		if boxed {
			argv = append([]string{program(t, "segue"), "sandbox-exec", "-memory=1073741824", "-cpu=10", "-files=64", "-require=landlock,seccomp,limits,no-new-privs", "--"}, argv...)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		var out, diag bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = f, &out, &diag
		pr, pw, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer pr.Close()
		cmd.ExtraFiles = []*os.File{pw}
		cmd.Env = []string{"LC_ALL=C", "MALLOC_ARENA_MAX=1", "GOMAXPROCS=1"}
		_ = cmd.Run() // what came out is looked at
		_ = pw.Close()
		report := make([]byte, 4096)
		n, _ := pr.Read(report)
		return out.String(), diag.String() + string(report[:n])
	}
	raw := []string{"-f", "data", "-protocol_whitelist", "file,crypto,data,http,tcp,udp,concat,subfile,pipe,unix,cache"}
	with := func(url string) []string { return append(append([]string{}, raw...), "-i", url) }
	if out, diag := inBox(true, harmless, with("file:/proc/self/fd/0")...); !strings.Contains(out, "harmless") {
		t.Fatalf("the source itself is not read: %q %s", out, diag)
	}
	if out, diag := inBox(false, harmless, with("file:"+key)...); !strings.Contains(out, string(secret)) {
		t.Fatalf("outside the sandbox the key is not read: the check cannot fail: %q %s", out, diag)
	}
	addr := l.Addr().String()
	n := 0
	for what, url := range map[string]string{
		"file": "file:" + key, "bare": key, "concat": "concat:/proc/self/fd/0|" + key, "subfile": "subfile,,start,0,end,32,,:" + key,
		"cache": "cache:file:" + key, "root": "/proc/self/root" + key, "cwd": "/proc/self/cwd" + key, "parent": fmt.Sprintf("/proc/%d/root%s", os.Getpid(), key),
		"segue_fd": fmt.Sprintf("/proc/%d/fd/0", d.procs[0].cmd.Process.Pid), "environ": fmt.Sprintf("/proc/%d/environ", d.procs[0].cmd.Process.Pid), "passwd": "/etc/passwd",
		"own_environ": "/proc/self/environ", "maps": "/proc/self/maps",
		"data_folder": d.file("data/user.db"), "http": "http://" + addr + "/x", "tcp": "tcp://" + addr, "udp": "udp://" + addr, "unix": "unix:" + d.file("socket"),
	} {
		n++
		out, diag := inBox(true, harmless, with(url)...)
		if rest := strings.ReplaceAll(out, "harmless", ""); rest != "" || strings.Contains(out, string(secret)) {
			t.Errorf("%s: %q came out; %s", what, out[:min(len(out), 80)], diag)
		}
	}
	for what, script := range map[string]string{
		"hls":     "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://" + key + "\n#EXT-X-ENDLIST\n",
		"hls_key": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-KEY:METHOD=AES-128,URI=\"file://" + key + "\"\n#EXTINF:10,\nhttp://" + addr + "/a.ts\n#EXT-X-ENDLIST\n",
		"concat":  "ffconcat version 1.0\nfile '" + key + "'\n",
	} {
		n++
		kind := strings.SplitN(what, "_", 2)[0]
		args := []string{"-protocol_whitelist", "file,http,tcp,crypto,data,concat", "-f", kind}
		if kind == "concat" {
			args = append(args, "-safe", "0")
		} else {
			args = append(args, "-allowed_extensions", "ALL")
		}
		if out, diag := inBox(true, []byte(script), append(args, "-i", "file:/proc/self/fd/0")...); out != "" {
			t.Errorf("%s: %q came out; %s", what, out[:min(len(out), 80)], diag)
		}
	}
	if reached.Load() > 0 {
		t.Errorf("the network was reached %d times", reached.Load())
	}
	t.Logf("%d ways to the key ring, other files and the network: none leads anywhere", n)
}
