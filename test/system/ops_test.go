//go:build system

package system

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/stream/wire"
	"github.com/segue-music/segue/test/deploy"
)

// TestOps uses Segue and then looks at it as an operator does.
func TestOps(t *testing.T) {
	eachShape(t, func(d *deployment) {
		admin := d.admin()
		listener := d.listener(admin, "opsann")
		mark := hostile(d, listener)
		d.login()
		track := d.shared("Seen By Operators")
		played(d, listener, track.ID)
		d.scenario("metrics_exist", func(d *deployment) { metricsExist(d) })
		d.scenario("labels", func(d *deployment) { boundedLabels(d, mark) })
		d.scenario("profiles", func(d *deployment) { profiles(d, admin, listener) })
		d.scenario("ready", readiness)
	})
}

// played makes every kind of figure that a listener's app makes.
func played(d *deployment, p *person, track string) {
	d.Helper()
	l := p.open(false)
	p.activate(track)
	if _, _, _, err := l.sound(track, wire.Kbps96); err != nil {
		d.Fatal(err)
	}
	if err := p.renew(); err != nil {
		d.Fatal(err)
	}
	playID := newID()
	at := time.Now().UnixMilli()
	event := func(e *collectv1.ClientEvent) *collectv1.ClientEvent { e.Id, e.ClientUnixMs = newID(), at; return e }
	_, err := p.Collect.SendEvents(d.Context(), &collectv1.SendEventsRequest{DeviceId: p.Device, SessionId: l.id, Events: []*collectv1.ClientEvent{
		event(&collectv1.ClientEvent{Payload: &collectv1.ClientEvent_Started{Started: &eventv1.PlaybackStarted{PlayId: playID, TrackId: track, StartMs: 70, Transport: "quic"}}}),
		event(&collectv1.ClientEvent{Payload: &collectv1.ClientEvent_Progress{Progress: &eventv1.PlaybackProgress{PlayId: playID, TrackId: track, HeardMs: 900, Underruns: 1}}}),
		event(&collectv1.ClientEvent{Payload: &collectv1.ClientEvent_Seeked{Seeked: &eventv1.PlaybackSeeked{PlayId: playID, TrackId: track, SeekMs: 60}}}),
		event(&collectv1.ClientEvent{Payload: &collectv1.ClientEvent_Error{Error: &eventv1.PlaybackError{PlayId: playID, TrackId: track, Code: "INTERNAL"}}}),
	}})
	if err != nil {
		d.Fatal(err)
	}
}

// hostile puts words of its own wherever a client may, and returns what they have in common.
func hostile(d *deployment, p *person) (mark string) {
	d.Helper()
	mark = strings.ToLower(rand.Text())
	for _, r := range []struct{ method, path string }{
		{http.MethodGet, "/" + mark}, {mark, "/"}, {http.MethodPost, "/segue.user.v1.AccountService/" + mark}, {http.MethodGet, "/o/" + mark},
		{http.MethodGet, "/artwork/" + mark}, {http.MethodGet, "/stream/v1/" + mark},
	} {
		req, err := http.NewRequestWithContext(d.Context(), r.method, d.URL+r.path, nil)
		if err != nil {
			d.Fatal(err)
		}
		req.Header.Set("User-Agent", mark)
		req.Header.Set("X-Request-Id", mark)
		res, err := p.Do(req)
		if err != nil {
			d.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	if err := (&person{d: d, Name: mark, Device: newID()}).signIn("wrong"); err == nil {
		d.Error("an unknown account signed in")
	}
	_, err := p.Collect.SendEvents(d.Context(), &collectv1.SendEventsRequest{DeviceId: p.Device, Events: []*collectv1.ClientEvent{
		{Id: newID(), Payload: &collectv1.ClientEvent_Started{Started: &eventv1.PlaybackStarted{PlayId: newID(), TrackId: newID(), Transport: mark, Reason: mark}}},
		{Id: newID(), Payload: &collectv1.ClientEvent_Error{Error: &eventv1.PlaybackError{PlayId: newID(), TrackId: newID(), Code: mark, Message: mark}}},
		{Id: newID(), Payload: &collectv1.ClientEvent_Diagnostic{Diagnostic: &eventv1.ClientDiagnostic{Name: mark, Labels: map[string]string{mark: mark}, Values: map[string]float64{mark: 1}}}},
	}})
	if err != nil && connect.CodeOf(err) != connect.CodeInvalidArgument {
		d.Fatal(err)
	}
	if _, status := p.send(mark+".mp3", []byte("no sound "+mark)); status >= 500 {
		d.Errorf("upload: %d", status)
	}
	return mark
}

// page is /metrics of a process.
func (d *deployment) page(p *process) string {
	d.Helper()
	res, err := http.Get(p.addr.Ops + "/metrics")
	if err != nil {
		d.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		d.Fatalf("metrics: %s %v", res.Status, err)
	}
	return string(b)
}

var sample = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? `)

// metricsExist fails for a metric that an alert or a panel asks for and no process has.
func metricsExist(d *deployment) {
	have := map[string]bool{}
	for _, p := range d.procs {
		for line := range strings.Lines(d.page(p)) {
			if m := sample.FindStringSubmatch(line); m != nil {
				have[m[1]] = true
			}
			if f := strings.Fields(line); len(f) == 4 && f[0] == "#" && f[1] == "TYPE" {
				have[f[2]] = true
				if f[3] == "histogram" {
					have[f[2]+"_bucket"], have[f[2]+"_count"], have[f[2]+"_sum"] = true, true, true
				}
			}
		}
	}
	rules, err := deploy.Rules("../..")
	if err != nil {
		d.Fatal(err)
	}
	panels, err := deploy.Dashboard("../..")
	if err != nil {
		d.Fatal(err)
	}
	for _, r := range rules {
		have[r.Record] = true
	}
	elsewhere := slices.Concat(deploy.NodeExporter(), deploy.Spool(), deploy.Postgres(), deploy.Cassandra(), deploy.Redis(), deploy.Calls(), deploy.Prometheus())
	if enginesFolder != "" && len(d.procs) > 1 {
		elsewhere = append(elsewhere, deploy.SQLite()...)
	}
	asked := 0
	check := func(where, expr string) {
		for _, m := range deploy.Metrics(expr) {
			asked++
			if !have[m] && !slices.Contains(elsewhere, m) {
				d.Errorf("%s asks for %s, which nothing has", where, m)
			}
		}
	}
	for _, r := range rules {
		check(r.Alert+r.Record, r.Expr)
	}
	for _, p := range panels {
		for _, t := range p.Targets {
			check(p.Title, t.Expr)
		}
	}
	if asked < 100 {
		d.Errorf("only %d names were looked for", asked)
	}
}

// mostSeries bounds what one process may show. What it shows grows with the number of its
// methods, routes and topics, never with what clients send.
const mostSeries = 3000

// boundedLabels fails where a word of a client is on the page, or too much is.
func boundedLabels(d *deployment, mark string) {
	for _, p := range d.procs {
		page := d.page(p)
		if i := strings.Index(strings.ToLower(page), mark); i >= 0 {
			d.Errorf("a client's word is a label: %.200s", page[max(0, i-100):])
		}
		n := 0
		for line := range strings.Lines(page) {
			if sample.MatchString(line) {
				n++
			}
		}
		if n > mostSeries {
			d.Errorf("%s shows %d series", p.args[0], n)
		}
		d.Logf("%s shows %d series", p.args[0], n)
		if promtool := findPromtool(); promtool != "" {
			cmd := exec.Command(promtool, "check", "metrics")
			cmd.Stdin = strings.NewReader(page)
			if said, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(said)) > 0 {
				d.Errorf("promtool: %v\n%s", err, said)
			}
		}
	}
}

// findPromtool is where scripts/check-ops.sh puts it; it says so itself where it is missing.
func findPromtool() string {
	if p, err := exec.LookPath("promtool"); err == nil {
		return p
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	p := cache + "/segue/prometheus/usr/bin/promtool"
	if _, err := os.Stat(p); err != nil {
		return ""
	}
	return p
}

// profiles are for the admin at the public door, and for who is on the machine.
func profiles(d *deployment, admin, listener *person) {
	ask := func(do func(*http.Request) (*http.Response, error), url string) (int, string) {
		req, err := http.NewRequestWithContext(d.Context(), http.MethodGet, url, nil)
		if err != nil {
			d.Fatal(err)
		}
		res, err := do(req)
		if err != nil {
			d.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	const path = "/admin/debug/pprof/"
	for name, c := range map[string]struct {
		do   func(*http.Request) (*http.Response, error)
		want int
	}{"anonymous": {http.DefaultClient.Do, 401}, "listener": {listener.Do, 403}, "admin": {admin.Do, 200}} {
		for _, what := range []string{"", "goroutine?debug=1", "profile?seconds=1"} {
			if status, text := ask(c.do, d.URL+path+what); status != c.want {
				d.Errorf("%s %s: %d %.100s", name, what, status, text)
			}
		}
	}
	if status, _ := ask(admin.Do, d.URL+path+"profile?seconds=3600"); status != http.StatusBadRequest {
		d.Errorf("a profile of an hour: %d", status)
	}
	if status, _ := ask(admin.Do, d.URL+path+"cmdline"); status != http.StatusNotFound {
		d.Errorf("the command line: %d", status)
	}
	if status, _ := ask(http.DefaultClient.Do, d.URL+"/metrics"); status == http.StatusOK {
		if _, text := ask(http.DefaultClient.Do, d.URL+"/metrics"); strings.Contains(text, "# TYPE") {
			d.Error("metrics are public")
		}
	}
	for _, p := range d.procs {
		if status, _ := ask(http.DefaultClient.Do, p.addr.Ops+"/debug/pprof/heap"); status != http.StatusOK {
			d.Errorf("%s: profile of the operator's: %d", p.args[0], status)
		}
	}
}

// readiness: every process is live and ready; one that stops says on its ops door that it
// drains, for as long as a request is under way.
func readiness(d *deployment) {
	say := func(at string) (int, string) {
		res, err := http.Get(at)
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	for _, p := range d.procs {
		for _, path := range []string{"/livez", "/readyz"} {
			if status, text := say(p.addr.Ops + path); status != http.StatusOK {
				d.Errorf("%s %s: %d %s", p.args[0], path, status, text)
			}
		}
	}
	p := d.process("gateway")
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.addr.HTTP, "http://"))
	if err != nil {
		d.Fatal(err)
	}
	defer conn.Close()
	// Half a request holds the drain up. The answer to the one before says that it is read.
	fmt.Fprintf(conn, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\nPOST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ngrant")
	if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
		d.Fatal(err)
	}
	d.until(5*time.Second, "the request under way", func() error {
		for line := range strings.Lines(d.page(p)) {
			if strings.HasPrefix(line, "segue_gateway_in_flight ") && strings.TrimSpace(line) != "segue_gateway_in_flight 0" {
				return nil
			}
		}
		return errorf("nothing is in flight")
	})
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.Fatal(err)
	}
	d.until(5*time.Second, "not ready while draining", func() error {
		if status, text := say(p.addr.Ops + "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "draining") {
			return errorf("readyz: %d %s", status, text)
		}
		return nil
	})
	if status, text := say(p.addr.Ops + "/livez"); status != http.StatusOK {
		d.Errorf("livez while draining: %d %s", status, text)
	}
	_ = conn.Close()
	d.stop(p)
}
