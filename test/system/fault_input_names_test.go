//go:build system && fault

package system

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
)

// TestFault_Input_Names sends good files under bad names: no name leads anywhere.
func TestFault_Input_Names(t *testing.T) {
	d, admin := inputWorld(t)
	for i, name := range []string{
		"../../../../watched/out.flac", "/etc/cron.d/x.flac", `..\..\up.flac`, `C:\x\y.flac`, "a\x00b.flac", "a\r\nSet-Cookie: x.flac",
		strings.Repeat("n", 300) + ".flac", strings.Repeat("é", 500) + ".flac", "\u202ecalf.3pm", "CON.flac", "NUL", "aux.flac", "..", ".", "/", "",
		"\xff\xfe.flac", "-rf.flac", "x.flac; rm -rf /", "$(id).flac", "%2e%2e%2f.flac", " .flac",
	} {
		id, status := admin.send(name, d.encoded("plain.flac", 1, 300+i))
		if status >= 400 && status < 500 {
			t.Logf("%.40q is refused: %d", name, status)
			continue // before anything was written
		}
		if status != http.StatusCreated {
			t.Fatalf("%q: status %d", name, status)
		}
		u := admin.reaches(id, uploadv1.UploadState_UPLOAD_STATE_COMPLETE)
		got := u.GetFileName()
		if got == "" || got == ".." || got == "." || len(got) > 1024 || !utf8.ValidString(got) || strings.ContainsAny(got, "/\\\r\n\x00") || strings.ContainsFunc(got, hidden) {
			t.Errorf("%.40q is kept as %.80q", name, got)
		}
	}
	res := admin.tus(http.MethodPost, "/upload/v1/files/", nil, map[string]string{"Upload-Length": "5", "Upload-Metadata": "filename !!!not base64!!!"})
	if res.StatusCode >= 500 {
		t.Errorf("metadata that is no base64: %s", res.Status)
	}
	long := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 200_000)))
	res = admin.tus(http.MethodPost, "/upload/v1/files/", nil, map[string]string{"Upload-Length": "5", "Upload-Metadata": "filename " + long})
	if res.StatusCode >= 500 {
		t.Errorf("200 kB of name: %s", res.Status)
	}
	if _, err := os.Stat(d.file("watched/out.flac")); err == nil {
		t.Error("a file was written where its name led")
	}
	d.survives(admin, 93)
}

// TestFault_Input_Folder puts everything odd into the watched folder: odd names are taken
// in, and whatever is no plain file of it is not.
func TestFault_Input_Folder(t *testing.T) {
	d, admin := inputWorld(t)
	root := d.file("watched")
	secret := d.file("secret")
	if err := os.Mkdir(secret, 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(path string, seed int, title string) {
		t.Helper()
		b := d.encoded("plain.flac", 1, seed, tags(title, "Folder")...)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(filepath.Join(secret, "outside.flac"), 400, "Outside")
	odd := map[string]string{
		"newline": "a\nb.flac", "invalid_utf8": "\xff\xfe\x80.flac", "dash": "-i.flac", "protocol": "concat:a|b.flac", "pipe": "pipe:0.flac",
		"long": strings.Repeat("l", 250) + ".flac", "percent": "%d%s%n.flac", "quotes": "'\"`$(id).flac", "backslash": `a\b.flac`,
		"bidi": "\u202ecalf.flac", "control": "\x1b[31m.flac", "windows": "CON.flac", "spaces": "   .flac",
	}
	seed := 410
	for what, name := range odd {
		seed++
		put(filepath.Join(root, name), seed, "Odd "+what)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Symlink(filepath.Join(secret, "outside.flac"), filepath.Join(root, "out.flac")))
	must(os.Symlink(secret, filepath.Join(root, "outdir")))
	must(os.Symlink("../secret/outside.flac", filepath.Join(root, "up.flac")))
	must(os.Symlink(".", filepath.Join(root, "loop")))
	must(os.Symlink("self.flac", filepath.Join(root, "self.flac")))
	must(os.Symlink("/proc/self/fd/0", filepath.Join(root, "fd.flac")))
	must(syscall.Mkfifo(filepath.Join(root, "fifo.flac"), 0o600))
	must(syscall.Mknod(filepath.Join(root, "zero.flac"), syscall.S_IFCHR|0o600, 1<<8|5)) // /dev/zero: it takes root
	socket, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(err)
	defer func() { must(syscall.Close(socket)) }()
	must(syscall.Bind(socket, &syscall.SockaddrUnix{Name: filepath.Join(root, "socket.flac")}))
	must(os.Mkdir(filepath.Join(root, "folder.flac"), 0o700))
	deep := root
	for range 40 {
		deep = filepath.Join(deep, "d")
		must(os.Mkdir(deep, 0o700))
	}
	put(filepath.Join(root, "linked.flac"), 440, "Linked")
	must(os.Link(filepath.Join(root, "linked.flac"), filepath.Join(root, "linked again.flac")))
	must(os.WriteFile(filepath.Join(root, "empty.flac"), nil, 0o600))
	put(filepath.Join(root, "last.flac"), 441, "Last")

	d.until(120*time.Second, "the tracks of the odd names", func() error {
		have := map[string]string{}
		for _, tr := range d.tracks() {
			have[tr.Title] = tr.State
		}
		for what := range odd {
			if have["Odd "+what] != "complete" {
				return errorf("%s is %q", what, have["Odd "+what])
			}
		}
		if have["Last"] != "complete" || have["Linked"] != "complete" {
			return errorf("last %q linked %q", have["Last"], have["Linked"])
		}
		return nil
	})
	linked := 0
	for _, tr := range d.tracks() {
		if tr.Title == "Outside" {
			t.Error("a file outside the folder was taken in")
		}
		if tr.Title == "Linked" {
			linked++
		}
	}
	if linked != 1 {
		t.Errorf("one file of two names made %d tracks", linked)
	}
	if n := len(d.tracks()); n != len(odd)+2 {
		t.Errorf("%d tracks of %d files", n, len(odd)+2)
	}
	d.swapped()
	d.survives(admin, 94)
}

// swapped puts another file in the place of one that is being read, again and again: in
// the end the track has the sound and the tags of the last one.
func (d *deployment) swapped() {
	d.Helper()
	at := d.file("watched/swapped.flac")
	for i := range 5 {
		b := d.encoded("swap.flac", 20-3*i, 500+i, tags(fmt.Sprintf("Swap %d", i), "Swapped")...)
		if err := os.WriteFile(d.file("swap.tmp"), b, 0o600); err != nil {
			d.Fatal(err)
		}
		if err := os.Rename(d.file("swap.tmp"), at); err != nil {
			d.Fatal(err)
		}
		if i < 4 {
			d.until(60*time.Second, "work on the file", func() error {
				for _, tr := range d.tracks() {
					if tr.Title == fmt.Sprintf("Swap %d", i) {
						return nil
					}
				}
				return errorf("no track Swap %d", i)
			})
		}
	}
	d.until(120*time.Second, "the last version", func() error {
		var found []listed
		for _, tr := range d.tracks() {
			if strings.HasPrefix(tr.Title, "Swap ") {
				found = append(found, tr)
			}
		}
		if len(found) != 1 || found[0].Title != "Swap 4" || found[0].State != "complete" || found[0].DurationMS != 8000 {
			return errorf("%+v", found)
		}
		return nil
	})
}
