//go:build system

package system

import (
	"encoding/json"

	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
)

// logged is an event as tools read it.
type logged struct {
	ID, Type, Topic, Subject, UserID, DeviceID, TraceID string
	Time                                                string
	Personal                                            json.RawMessage
	Payload                                             map[string]any
}

// search finds events, oldest first.
func (d *deployment) search(admin *person, f *warehousev1.Filter) []logged {
	d.Helper()
	stream, err := admin.Audit.SearchEvents(d.Context(), &warehousev1.SearchEventsRequest{Filter: f, Limit: 100_000})
	if err != nil {
		d.Fatal(err)
	}
	defer stream.Close()
	var out []logged
	for stream.Receive() {
		var e logged
		if err := json.Unmarshal([]byte(stream.Msg().GetEvent().GetJson()), &e); err != nil {
			d.Fatal(err)
		}
		out = append(out, e)
	}
	if err := stream.Err(); err != nil {
		d.Fatal(err)
	}
	return out
}

// events finds those of a type and a subject.
func (d *deployment) events(admin *person, typ, subject string) []logged {
	d.Helper()
	return d.search(admin, &warehousev1.Filter{Types: []string{typ}, Subject: subject})
}

// counts are how many events there are of each type, no id twice.
func (d *deployment) counts(admin *person, topics ...string) map[string]int {
	d.Helper()
	out, seen := map[string]int{}, map[string]bool{}
	for _, e := range d.search(admin, &warehousev1.Filter{Topics: topics}) {
		if seen[e.ID] {
			d.Errorf("event %s, a %s, is there twice", e.ID, e.Type)
		}
		seen[e.ID] = true
		out[e.Type]++
	}
	return out
}
