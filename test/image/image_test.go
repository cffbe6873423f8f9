//go:build image

// Package image tries the image of deploy/Dockerfile out: its root, which scripts/image.sh
// mounts, as a container runtime would run it, only without one. Nobody but root can.
package image

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segue-music/segue/test/proc"
)

// user is who the image runs as.
const user = 10001

// inside runs a program of the image as a container runtime does: in namespaces for mounts
// and processes of its own, the root read-only, without any privilege. $1 is the root, $2
// the folder for data and secrets, $3 who it is; the rest is the command.
const inside = `set -e
root=$1 data=$2 user=$3
shift 3
mount --bind "$root" "$root"
mount --bind "$data/data" "$root/var/lib/segue"
mount --bind "$data/secrets" "$root/var/lib/segue-secrets"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o nosuid,mode=0755 tmpfs "$root/dev"
for d in null zero random urandom; do touch "$root/dev/$d"; mount --bind "/dev/$d" "$root/dev/$d"; done
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all -- "$@"
`

// image is its root with a place for data.
type image struct {
	*testing.T
	root, data string
}

func open(t *testing.T) *image {
	t.Helper()
	root := os.Getenv("SEGUE_IMAGE_ROOT")
	if root == "" || os.Geteuid() != 0 {
		t.Fatal("SEGUE_IMAGE_ROOT is not set, or this is not root: make test-image")
	}
	i := &image{T: t, root: root, data: t.TempDir()}
	for _, d := range []string{"data", "secrets"} {
		dir := filepath.Join(i.data, d)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, user, user); err != nil {
			t.Fatal(err)
		}
	}
	return i
}

func (i *image) command(args ...string) *exec.Cmd {
	cmd := exec.Command("unshare", append([]string{"--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inside, "sh", i.root, i.data, strconv.Itoa(user)}, args...)...)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/var/lib/segue"}
	return cmd
}

func (i *image) must(args ...string) string {
	i.Helper()
	out, err := i.command(args...).CombinedOutput()
	if err != nil {
		i.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// TestImage_Root: there is what is needed, and who runs there can change nothing of it.
func TestImage_Root(t *testing.T) {
	i := open(t)
	if out := i.must("id", "-u"); strings.TrimSpace(out) != strconv.Itoa(user) {
		t.Errorf("it runs as %s", out)
	}
	for _, program := range []string{"/usr/local/bin/segue -version", "/usr/bin/ffmpeg -version", "/usr/bin/ffprobe -version", "/usr/bin/fpcalc -version"} {
		i.must(strings.Fields(program)...)
	}
	for _, path := range []string{"/usr/local/bin/x", "/etc/x", "/var/lib/x", "/x"} {
		if out, err := i.command("touch", path).CombinedOutput(); err == nil {
			t.Errorf("%s can be written: %s", path, out)
		}
	}
	i.must("touch", "/var/lib/segue/x")
	certs, err := os.Stat(filepath.Join(i.root, "etc/ssl/certs/ca-certificates.crt"))
	if err != nil || certs.Size() < 100_000 {
		t.Errorf("authorities that buckets and ACME are trusted by: %v", err)
	}
}

// TestImage_Ingest: the whole of Segue starts in it, takes a track in with the decoder's
// sandbox, and ends when it is told to.
func TestImage_Ingest(t *testing.T) {
	i := open(t)
	password := "an image is no secret"
	if err := os.WriteFile(filepath.Join(i.data, "secrets/password"), []byte(password), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := i.command("/usr/local/bin/segue", "-data=/var/lib/segue", "-secrets.dir=/var/lib/segue-secrets/ring", "-ready.file=/var/lib/segue/ready",
		"-user.admin-password.file=/var/lib/segue-secrets/password", "-http.listen=127.0.0.1:0", "-quic.listen=127.0.0.1:0")
	log, err := os.Create(filepath.Join(i.data, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := func() string {
		b, err := os.ReadFile(log.Name())
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // what it started ends with it
		if t.Failed() {
			t.Log(said())
		}
	})
	var doors struct{ HTTP string }
	err = proc.Until(t.Context(), time.Minute, func() error {
		b, err := os.ReadFile(filepath.Join(i.data, "data/ready"))
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &doors)
	})
	if err != nil {
		t.Fatal(err)
	}

	// A client of this machine.
	ctl := func(stdin string, args ...string) string {
		t.Helper()
		c := exec.Command("../../bin/seguectl", args...)
		c.Env = append(os.Environ(), "SEGUECTL_CONFIG="+filepath.Join(i.data, "ctl"))
		c.Stdin = strings.NewReader(stdin)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("seguectl %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	ctl(password, "login", "--server", doors.HTTP, "--user", "admin", "--password-stdin")
	song := filepath.Join(i.data, "song.flac")
	if out, err := exec.Command("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "anoisesrc=d=4:c=pink:r=44100:a=0.5", "-ac", "2",
		"-metadata", "title=In the image", "-metadata", "artist=A", "-metadata", "album=B", song).CombinedOutput(); err != nil {
		t.Fatalf("make a song: %v\n%s", err, out)
	}
	ctl("", "upload", song, "--wait")
	var tracks []struct{ ID, Title, State string }
	if err := json.Unmarshal([]byte(ctl("", "tracks", "--json")), &tracks); err != nil {
		t.Fatal(err)
	}
	if len(tracks) != 1 || tracks[0].Title != "In the image" {
		t.Fatalf("tracks %+v", tracks)
	}
	ctl("", "play", "--sink=null", "--pace=fast", tracks[0].ID)
	i.protected(said())

	// Seen from inside it is process 1, as with a container runtime.
	pid := child(t, cmd.Process.Pid)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil || !strings.Contains(string(status), "Name:\tsegue\n") || !strings.Contains(string(status), "CapBnd:\t0000000000000000\n") || !strings.Contains(string(status), "NoNewPrivs:\t1\n") {
		t.Errorf("%v: it runs as\n%s", err, status)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it does not end when it is told to")
	}
}

// child is the only child of a process.
func child(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// protected: of the decoder's protections only those may be missing that a namespace would
// have given, which neither a chroot nor the default profile of container runtimes allows;
// without sockets in the list of system calls there is no network all the same.
func (i *image) protected(log string) {
	i.Helper()
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "lacks protections") {
			continue
		}
		for _, must := range []string{"limits", "no-new-privs", "landlock", "seccomp"} {
			if _, missing, _ := strings.Cut(line, "missing="); strings.Contains(missing, must) {
				i.Errorf("the decoder's sandbox is without %s: %s", must, line)
			}
		}
	}
}
