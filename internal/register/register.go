// Package register gives metrics to a registry whole or not at all.
package register

import "github.com/prometheus/client_golang/prometheus"

// All registers all; where one cannot be, none is. undo takes them out again, for what may
// be opened a second time.
func All(reg prometheus.Registerer, all ...prometheus.Collector) (undo func(), err error) {
	out := func(some []prometheus.Collector) {
		for _, c := range some {
			reg.Unregister(c)
		}
	}
	for i, c := range all {
		if err := reg.Register(c); err != nil {
			out(all[:i])
			return nil, err
		}
	}
	return func() { out(all) }, nil
}
