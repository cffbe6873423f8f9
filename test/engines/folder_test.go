package main

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestFolder(t *testing.T) {
	f, err := openFolder(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.tell(map[string]string{"a": "it's", "b": "2"}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `. "$1" && echo "$ENGINE_A $ENGINE_B"`, "sh", f.Path("engines.sh")).Output()
	if err != nil || string(out) != "it's 2\n" {
		t.Errorf("a shell reads %q, %v", out, err)
	}
	if err := f.clear(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(f.Path("*")); len(left) != 0 {
		t.Errorf("what is left: %q", left)
	}
}

func TestHost(t *testing.T) {
	var order []string
	h := &host{ctx: t.Context(), name: "x", data: t.TempDir()}
	err := h.do(func() {
		h.Cleanup(func() { order = append(order, "first") })
		h.Cleanup(func() { order = append(order, "second") })
		h.Fatalf("it %s", "broke")
		order = append(order, "went on")
	})
	h.end()
	if err == nil || err.Error() != "x: it broke" || !h.Failed() || strings.Join(order, " ") != "second first" {
		t.Errorf("%v, %q", err, order)
	}
}

func TestWatch(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:1": "127.0.0.1:1", "http://127.0.0.1:2": "127.0.0.1:2", "postgres://u@127.0.0.1:3/db?x=y": "127.0.0.1:3", "segue": "", "eu-north-1": "",
	} {
		if got := hostPort(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := watch(ctx, map[string]string{"a": l.Addr().String()}); err != nil {
		t.Errorf("ended by its context: %v", err)
	}
}
