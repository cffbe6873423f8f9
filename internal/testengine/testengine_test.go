package testengine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"kafka", "versitygw"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		env    map[string]string
		engine string
		found  string
		skip   bool
		says   string
	}{
		"nobody_asked":           {engine: "kafka", skip: true, says: Folder},
		"asked":                  {env: map[string]string{Folder: dir}, engine: "kafka", found: "kafka"},
		"by_its_name":            {env: map[string]string{Folder: dir}, engine: "s3", found: "versitygw"},
		"asked_and_missing":      {env: map[string]string{Folder: dir}, engine: "redis", says: "redis-server"},
		"ci_without_a_folder":    {env: map[string]string{"CI": "true"}, engine: "kafka", says: Folder},
		"ci_with_one":            {env: map[string]string{"CI": "true", Folder: dir}, engine: "kafka", found: "kafka"},
		"folder_does_not_exist":  {env: map[string]string{Folder: dir + "/none"}, engine: "kafka", says: "kafka"},
		"required_and_there":     {env: map[string]string{Folder: dir, Require: "kafka"}, engine: "kafka", found: "kafka"},
		"required_and_missing":   {env: map[string]string{Folder: dir, Require: "redis, kafka"}, engine: "redis", says: "redis-server"},
		"required_no_folder":     {env: map[string]string{Require: "kafka"}, engine: "kafka", says: Folder},
		"not_required":           {env: map[string]string{Folder: dir, Require: "kafka"}, engine: "redis", skip: true, says: "redis-server"},
		"not_required_but_there": {env: map[string]string{Folder: dir, Require: "kafka"}, engine: "s3", found: "versitygw"},
		"not_required_in_ci":     {env: map[string]string{"CI": "true", Folder: dir, Require: "kafka"}, engine: "gcs", skip: true, says: "fake-gcs-server"},
		"misspelt":               {env: map[string]string{Folder: dir, Require: "kafka,reddis"}, engine: "kafka", says: `"reddis" is none of`},
	} {
		t.Run(name, func(t *testing.T) {
			path, err := find(func(k string) string { return c.env[k] }, c.engine)
			if c.found != "" && (err != nil || filepath.Base(path) != c.found) || c.found == "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("find: %q, %v; want %q, an error with %q", path, err, c.found, c.says)
			}
			if skip := errors.Is(err, errNotAsked); skip != c.skip {
				t.Errorf("find: %v, want skip %t", err, c.skip)
			}
		})
	}
}

func TestJournal(t *testing.T) {
	j := newJournal("ready now")
	opened := func() bool {
		select {
		case <-j.ready:
			return true
		default:
			return false
		}
	}
	for _, text := range []string{"not rea", "dy yet; rea", "dy n"} {
		_, _ = fmt.Fprint(j, text)
	}
	if opened() {
		t.Error("it is ready before the text has come by")
	}
	_, _ = fmt.Fprint(j, "ow\nAddress ALREADY in use\n")
	if !opened() {
		t.Error("it is not ready though the text, in pieces, has come by")
	}
	if !j.has("address already in use") {
		t.Error("it has lost what it was told last")
	}
	_, _ = fmt.Fprint(j, strings.Repeat("x", journalSize)+"end ready now")
	if got := j.String(); len(got) != journalSize || !strings.HasSuffix(got, "end ready now") || j.has("address") {
		t.Errorf("it keeps %d bytes, want the last %d", len(got), journalSize)
	}
}

func shell(t *testing.T, ready, script string) *process {
	t.Helper()
	p, err := launch("a shell", t.TempDir(), ready, environment(), "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

func TestProcess(t *testing.T) {
	t.Run("ready", func(t *testing.T) {
		p := shell(t, "come in", "echo come in; exec sleep 60")
		if err := p.wait(t.Context(), p.log.ready); err != nil {
			t.Fatal(err)
		}
		p.kill()
		select {
		case <-p.done:
		default:
			t.Error("it still runs when kill returns")
		}
		p.kill() // again does nothing
	})
	t.Run("ends_before_it_is_ready", func(t *testing.T) {
		p := shell(t, "come in", "echo the disk is full >&2; exit 7")
		if err := p.wait(t.Context(), p.log.ready); err == nil || !strings.Contains(err.Error(), "exit status 7") {
			t.Errorf("wait: %v", err)
		}
		if !strings.Contains(p.String(), "the disk is full") {
			t.Errorf("its last words are lost: %s", p)
		}
	})
	t.Run("never_ready", func(t *testing.T) {
		p := shell(t, "come in", "exec sleep 60")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := p.wait(ctx, p.log.ready); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait: %v", err)
		}
	})
	t.Run("no_such_program", func(t *testing.T) {
		if p, err := launch("nothing", t.TempDir(), "", nil, "segue-no-such-program"); err == nil {
			p.kill()
			t.Error("it starts")
		}
	})
}

func TestFreePorts(t *testing.T) {
	ports, err := freePorts(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	if len(ports) != 3 || ports[0] == ports[1] || ports[1] == ports[2] || ports[0] == ports[2] {
		t.Errorf("ports %v, want three", ports)
	}
}

// A start whose port another took in between is tried again; the test goes on.
func TestStart_PortTaken(t *testing.T) {
	begun := 0
	p := start(t, 1, func([]string) (*process, error) {
		begun++
		script := "echo come in; exec sleep 60"
		if begun == 1 {
			script = "echo 'listen tcp 127.0.0.1:1: bind: address already in use'; exit 1"
		}
		p := shell(t, "come in", script)
		return p, p.wait(t.Context(), p.log.ready)
	})
	if begun != 2 {
		t.Errorf("begun %d times, want 2", begun)
	}
	p.kill()
}
