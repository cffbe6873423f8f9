//go:build system

package system

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/segue-music/segue/stream/wire"
)

// rotation lets keys be rotated within seconds, and people sign in as often as the load does.
var rotation = []string{ //nolint:gochecknoglobals // a constant
	"-user.publish-ahead=10s", "-user.login-per-ip=100000", "-user.login-per-account=100000", "-http.rate.login-per-ip=10000+10000",
}

// rotated rotates every key of the ring, one after the other, then all at once, twice, while
// people sign in, refresh, call, open sessions and listen by QUIC and by the fallback.
// Nothing fails and nobody is signed out.
func rotated(d *deployment) {
	d.login()
	track := d.shared("Long one").ID
	l := d.load()
	l.usual(d.admin(), track, "rotated")
	held := d.heldURL(track)
	var purposes []string
	for _, purpose := range []string{"master", "ticket", "tls-ticket", "quic-token", "signing", "rpc", "refresh", "objects"} {
		d.rotates(purpose)
		purposes = append(purposes, purpose)
		<-time.After(time.Second)
	}
	if _, diag, err := d.ctl("", "keys", "rotate", "objects"); err == nil || diag == "" {
		d.Errorf("a key was rotated that nobody knows yet: %q", diag)
	}
	d.inUse(2)
	d.rotates("--all")
	d.inUse(3)
	l.round(2) // under the last keys
	if status := held(); status != http.StatusPartialContent {
		d.Errorf("the URL of an object from before: status %d", status)
	}
	// Music from before the master key changed still plays, and new music does.
	d.must("upload", d.noise("after.flac", 3, 77, tags("After the rotation", "Keys")...), "--wait")
	after := d.track("After the rotation").ID
	for _, id := range []string{track, after} {
		if _, _, _, err := d.admin().open(false).sound(id, wire.Kbps24); err != nil {
			d.Errorf("play %s: %v", id, err)
		}
	}
	l.end()
	l.report()
	told := len(d.events(d.admin(), "KeyRotated", ""))
	if told != 2*len(purposes) {
		d.Errorf("%d rotations are told in the audit, of %d", told, 2*len(purposes))
	}
	d.Logf("%d keys rotated twice: done %v, failed %v; plays by %v; %d events KeyRotated", len(purposes), l.done, counts(l.failed), l.by, told)
	quietLog(d)
}

func counts(m map[string][]error) map[string]int {
	out := map[string]int{}
	for k, v := range m {
		out[k] = len(v)
	}
	return out
}

// rotates rotates by the operator's command.
func (d *deployment) rotates(what string) {
	d.Helper()
	d.must("keys", "rotate", what)
}

// inUse waits until the key of an id is in use for every purpose.
func (d *deployment) inUse(id int) {
	d.Helper()
	d.until(40*time.Second, fmt.Sprintf("key %d in use everywhere", id), func() error {
		var list []struct {
			Purpose string
			ID      int
			InUse   bool `json:"in_use"`
		}
		if err := json.Unmarshal([]byte(d.must("keys", "list", "--json")), &list); err != nil {
			return err
		}
		n := 0
		for _, k := range list {
			if k.InUse && k.ID != id {
				return errorf("%s: key %d is in use", k.Purpose, k.ID)
			}
			if k.InUse {
				n++
			}
		}
		if n != 8 {
			return errorf("%d purposes", n)
		}
		return nil
	})
	<-time.After(6 * time.Second) // until every process has looked at the files
}

// heldURL plays once and keeps the URL of the object; what it returns asks for a range.
func (d *deployment) heldURL(track string) func() int {
	d.Helper()
	p := d.signIn("admin", adminPassword)
	url := ""
	s := p.open(false)
	head := d.headOf(s, track)
	url = d.URL + strings.ReplaceAll(head.CDN, "{object}", hex.EncodeToString(head.ObjectID[:]))
	ask := func() int {
		req, err := http.NewRequestWithContext(d.Context(), http.MethodGet, url, nil)
		if err != nil {
			d.Fatal(err)
		}
		req.Header.Set("Range", "bytes=0-99")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			d.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	if status := ask(); status != http.StatusPartialContent {
		d.Fatalf("the URL of an object %q: status %d", head.CDN, status)
	}
	return ask
}
