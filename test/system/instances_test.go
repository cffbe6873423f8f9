//go:build system

package system

import (
	"fmt"
	"testing"
	"time"
)

// TestInstances does to one of two instances, under requests and streams, what operators
// do: nobody notices.
func TestInstances(t *testing.T) {
	if enginesFolder == "" {
		t.Skip("several instances of a service need the real engines: make test-system has them")
	}
	d := cluster(t, rotation...)
	d.login()
	d.scenario("drained", drained)
	d.scenario("rotated", rotated)
}

// drained stops each of the instances of which there are two, one after the other, and
// starts it again, while people call, sign in, open sessions and listen: no request fails
// and no stream is cut.
func drained(d *deployment) {
	track := d.shared("Long one").ID
	l := d.load()
	l.usual(d.admin(), track, "drained")
	for _, target := range []string{"gateway", "playback"} {
		both := d.all(target)
		if len(both) != 2 {
			d.Errorf("%d of %s", len(both), target)
		}
		for _, p := range both {
			l.round(1)
			began := time.Now()
			d.stop(p)
			d.Logf("%s stopped in %s", target, time.Since(began))
			l.round(2) // by the other alone
			d.again(p)
			d.await(p)
		}
	}
	l.round(2)
	l.end()
	l.report()
	d.Logf("done %v, failed %v; plays by %v", l.done, counts(l.failed), l.by)
}

// round waits until everything was done so many times again. A track takes its time.
func (l *load) round(times int) {
	l.d.Helper()
	before := l.progress()
	l.d.until(60*time.Second, fmt.Sprintf("%d rounds of everything", times), func() error {
		for what, n := range l.progress() {
			if what != "listen on one session" && n < before[what]+times {
				return errorf("%s: %d after %d", what, n, before[what])
			}
		}
		return nil
	})
}
