package web_test

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/segue-music/segue/web"
)

func TestFiles_Index(t *testing.T) {
	index, err := fs.ReadFile(web.Files(), "index.html")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Contains(string(index), "not part of this binary"); got == web.Built() {
		t.Errorf("page of an unbuilt player: %t, built: %t", got, web.Built())
	}
}

// Whatever index.html names is there, and nothing in it needs more than the
// strict content security policy gives.
func TestFiles_IndexIsWhole(t *testing.T) {
	if !web.Built() {
		t.Skip("the player is not built")
	}
	index, err := fs.ReadFile(web.Files(), "index.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(string(index), -1) {
		name, ok := strings.CutPrefix(m[1], "/")
		if !ok {
			t.Errorf("%s is not of this site", m[1])
			continue
		}
		if _, err := fs.Stat(web.Files(), name); err != nil {
			t.Errorf("index.html names what is not there: %v", err)
		}
	}
	if regexp.MustCompile(`<script(?:\s[^>]*)?>[^<]|\sstyle=|\son[a-z]+=`).Match(index) {
		t.Error("index.html has an inline script, style or handler")
	}
}
