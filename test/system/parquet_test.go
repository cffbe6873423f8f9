//go:build system

package system

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// row is what a reader of the lake sees of an event, by the names of the columns.
type row struct {
	Topic   string `parquet:"topic"`
	Type    string `parquet:"type"`
	ID      string `parquet:"id"`
	Subject string `parquet:"subject"`
	JSON    string `parquet:"payload_json"`
}

func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

// parquet writes the open hour out and finds each type of event in a row of a file.
func (d *deployment) parquet(types []string) {
	d.Helper()
	d.must("events", "flush")
	seen := map[string]int{}
	for _, name := range d.lakeFiles() {
		rows, err := parquet.ReadFile[row](name)
		if err != nil {
			d.Fatalf("%s: %v", name, err)
		}
		for _, r := range rows {
			seen[r.Type]++
			if r.ID == "" || r.Topic == "" || !strings.Contains(name, "topic="+r.Topic) {
				d.Errorf("%s holds %+v", name, r)
			}
		}
	}
	for _, typ := range types {
		if seen[typ] == 0 {
			d.Errorf("no row of %s in the lake: %v", typ, seen)
		}
	}
}

// lakeFiles are the Parquet files: on the disk of one process, or fetched from the bucket.
func (d *deployment) lakeFiles() []string {
	d.Helper()
	var out []string
	root := d.file("data/blobs/objects/lake")
	if d.bucket != nil {
		root = d.file("lake")
		d.fetchLake(root)
	}
	err := filepath.WalkDir(root, func(p string, _ os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, ".parquet") {
			out = append(out, p)
		}
		return err
	})
	if err != nil || len(out) == 0 {
		d.Fatalf("%d files in the lake: %v", len(out), err)
	}
	return out
}

// fetchLake copies the lake out of the bucket.
func (d *deployment) fetchLake(to string) {
	d.Helper()
	for key, err := range d.bucket.Keys(d.Context(), "") {
		if err != nil {
			d.Fatal(err)
		}
		if !strings.HasSuffix(key, ".parquet") {
			continue
		}
		if err := d.bucket.Fetch(d.Context(), key, filepath.Join(to, filepath.FromSlash(key))); err != nil {
			d.Fatal(err)
		}
	}
}
