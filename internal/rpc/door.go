package rpc

import (
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/overload"
	"github.com/segue-music/segue/internal/register"
)

// errBusy is told by [Door]; the call has not been looked at.
var errBusy = fault.New(fault.Exhausted, "too busy").RetryIn(time.Second)

// Door bounds how many calls of other processes are worked on at a time, by a limit that
// follows the load: one service with too much to do refuses some of it at once instead of
// all of it late. Streams have bounds of their own, and calls within the process come from
// a door that has let them in.
type Door struct {
	limit   *overload.Limit
	all     atomic.Int64
	calls   map[string]overload.Importance // that are counted, by path
	refused *prometheus.CounterVec
	errors  *connect.ErrorWriter
}

// NewDoor lets most calls in at a time while the process has little to do.
func NewDoor(most int, metrics prometheus.Registerer, now func() time.Time) (*Door, error) {
	return newDoor(overload.NewLimit(most, overload.NewSchedLatency().Late, now), metrics)
}

func newDoor(l *overload.Limit, metrics prometheus.Registerer) (*Door, error) {
	d := &Door{limit: l, calls: calls(), errors: connect.NewErrorWriter()}
	d.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "segue_rpc_shed_total", Help: "Calls of other processes that were refused because there was too much to do.",
	}, []string{"importance"})
	for i := range overload.Urgent + 1 {
		d.refused.WithLabelValues(i.String())
	}
	_, err := register.All(metrics, d.refused)
	return d, err
}

// Guard is next behind the door.
func (d *Door) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i, ok := d.calls[r.URL.Path]
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		n := int(d.all.Add(1))
		defer d.all.Add(-1)
		if n > i.Share(d.limit.Now(n)) {
			d.refused.WithLabelValues(i.String()).Inc()
			w.Header().Set(overload.Header, "1")
			_ = d.errors.Write(w, r, encode(errBusy, fault.Exhausted, "")) // a caller that went away
			return
		}
		next.ServeHTTP(w, r)
	})
}

// calls are the methods of one answer, with what each is to a listener.
func calls() map[string]overload.Importance {
	all := map[string]overload.Importance{}
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				access, ok := proto.GetExtension(m.Options(), authv1.E_Access).(*authv1.Access)
				if ok && access != nil && !m.IsStreamingServer() && !m.IsStreamingClient() {
					all["/"+string(service.FullName())+"/"+string(m.Name())] = importanceOf(access)
				}
			}
		}
		return true
	})
	return all
}

// importanceOf goes by who may call: what edges ask is about a sound that plays or is to
// start, what nobody asks for whom somebody waits comes again.
func importanceOf(a *authv1.Access) overload.Importance {
	switch {
	case slices.Contains(a.GetCallers(), "edge"):
		return overload.Urgent
	case a.GetAnonymous(), len(a.GetRoles()) > 0, slices.Contains(a.GetCallers(), "playback"), slices.Contains(a.GetCallers(), "gateway"):
		return overload.Ordinary
	}
	return overload.Background
}
