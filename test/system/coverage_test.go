//go:build system

package system

import (
	"bufio"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// calls are the procedures that were called, with the codes that they ended with.
type calls map[string][]string

var callLine = regexp.MustCompile(`^segue_rpc_duration_seconds_count\{code="([a-z_]+)",procedure="([^"]+)"\}`)

// count adds what a process has answered so far, by its own metrics.
func (d *deployment) count(p *process) {
	d.Helper()
	res, err := http.Get(p.addr.Ops + "/metrics")
	if err != nil {
		d.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if m := callLine.FindStringSubmatch(lines.Text()); m != nil && !slices.Contains(d.called[m[2]], m[1]) {
			d.called[m[2]] = append(d.called[m[2]], m[1])
		}
	}
	if err := lines.Err(); err != nil {
		d.Fatal(err)
	}
}

// everyRPC fails for a method of proto/ that no scenario called with success, or that a
// handler serves and proto/ does not have. A stream that its client ends is canceled.
func everyRPC(d *deployment) {
	for _, p := range d.procs {
		d.count(p)
	}
	methods := rpcs(d)
	for name, m := range methods {
		good := slices.Contains(d.called[name], "ok") || m.IsStreamingServer() && slices.Contains(d.called[name], "canceled")
		if !good {
			d.Errorf("%s was called by no scenario: %v", name, d.called[name])
		}
	}
	for name := range d.called {
		if methods[name] == nil {
			d.Errorf("%s is served and stands in no file of proto/", name)
		}
	}
}

// rpcs are the methods of proto/. Every package with services has to be linked into this
// test: those of gen/ are counted.
func rpcs(d *deployment) map[string]protoreflect.MethodDescriptor {
	d.Helper()
	out := map[string]protoreflect.MethodDescriptor{}
	packages := map[string]bool{}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(f.Package()), "segue.") {
			return true
		}
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			packages[string(f.Package())] = true
			for k := range s.Methods().Len() {
				m := s.Methods().Get(k)
				out["/"+string(s.FullName())+"/"+string(m.Name())] = m
			}
		}
		return true
	})
	dirs, err := filepath.Glob("../../gen/segue/*/*/*connect")
	if err != nil || len(dirs) == 0 {
		d.Fatalf("no generated services: %v", err)
	}
	for _, dir := range dirs {
		parts := strings.Split(filepath.ToSlash(dir), "/")
		if name := "segue." + parts[len(parts)-3] + "." + parts[len(parts)-2]; !packages[name] {
			d.Errorf("no scenario uses a client of %s", name)
		}
	}
	return out
}

// quietLog fails for an error in the log of any process: each is a fault, of Segue or of
// the level it was logged at.
func quietLog(d *deployment) {
	for _, p := range d.procs {
		b, err := os.ReadFile(p.log)
		if err != nil {
			d.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if strings.Contains(line, "level=ERROR") || strings.HasPrefix(line, "panic:") || strings.Contains(line, "DATA RACE") {
				d.Errorf("%s: %s", p.args[0], line)
			}
			if strings.Contains(line, "level=WARN") {
				d.Logf("%s: %s", p.args[0], line)
			}
		}
	}
}
