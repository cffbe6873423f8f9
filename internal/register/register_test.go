package register

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func counter(name string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: "A test."})
}

func TestAll(t *testing.T) {
	reg := prometheus.NewRegistry()
	count := func() int {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		return len(families)
	}
	undo, err := All(reg, counter("a"), counter("b"))
	if err != nil || count() != 2 {
		t.Fatalf("%d metrics, %v", count(), err)
	}
	if _, err := All(reg, counter("c"), counter("b")); err == nil || count() != 2 {
		t.Errorf("one is there already: %d metrics, %v", count(), err)
	}
	undo()
	if count() != 0 {
		t.Errorf("%d metrics are left", count())
	}
	if _, err := All(reg, counter("a"), counter("b")); err != nil {
		t.Errorf("again: %v", err)
	}
}
