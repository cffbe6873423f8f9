package collect

import (
	"math"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/stream/id"
)

// Bounds of what a client may write into an event.
const (
	maxWord   = 64  // bytes of a reason, a code, a label, a name
	maxText   = 512 // bytes of a message or a URI
	maxValues = 64  // values and labels of one diagnostic
	maxDayMS  = 86_400_000
)

// payloadOf is the event that a client sent, nil for none.
func payloadOf(e *collectv1.ClientEvent) proto.Message {
	switch p := e.GetPayload().(type) {
	case *collectv1.ClientEvent_Started:
		return p.Started
	case *collectv1.ClientEvent_Progress:
		return p.Progress
	case *collectv1.ClientEvent_Paused:
		return p.Paused
	case *collectv1.ClientEvent_Resumed:
		return p.Resumed
	case *collectv1.ClientEvent_Seeked:
		return p.Seeked
	case *collectv1.ClientEvent_Skipped:
		return p.Skipped
	case *collectv1.ClientEvent_Ended:
		return p.Ended
	case *collectv1.ClientEvent_Error:
		return p.Error
	case *collectv1.ClientEvent_Quality:
		return p.Quality
	case *collectv1.ClientEvent_Diagnostic:
		return p.Diagnostic
	}
	return nil
}

// check says why an event is refused for good; "" when it is not.
func check(m proto.Message) string {
	if m == nil {
		return "event has no payload"
	}
	if len(m.ProtoReflect().GetUnknown()) > 0 {
		return "event has unknown fields"
	}
	if d, ok := m.(*eventv1.ClientDiagnostic); ok {
		return checkDiagnostic(d)
	}
	if p, ok := m.(interface {
		GetPlayId() string
		GetTrackId() string
	}); ok {
		if _, err := id.Parse(p.GetPlayId()); err != nil {
			return "play_id is no id"
		}
		if _, err := id.Parse(p.GetTrackId()); err != nil {
			return "track_id is no id"
		}
	}
	var times []uint64
	words := map[string]string{}
	texts := map[string]string{}
	var rates []uint32
	switch e := m.(type) {
	case *eventv1.PlaybackStarted:
		times = append(times, e.GetPositionMs())
		rates = append(rates, e.GetQualityKbps())
		words = map[string]string{
			"reason": e.GetReason(), "transport": e.GetTransport(),
			"context.recommendation_id": e.GetContext().GetRecommendationId(), "context.shelf": e.GetContext().GetShelf(),
		}
		texts["context.uri"] = e.GetContext().GetUri()
		if len(e.GetContext().ProtoReflect().GetUnknown()) > 0 {
			return "event has unknown fields"
		}
	case *eventv1.PlaybackProgress:
		times = append(times, e.GetPositionMs(), e.GetHeardMs())
	case *eventv1.PlaybackPaused:
		times = append(times, e.GetPositionMs(), e.GetHeardMs())
	case *eventv1.PlaybackResumed:
		times = append(times, e.GetPositionMs())
	case *eventv1.PlaybackSeeked:
		times = append(times, e.GetFromMs(), e.GetToMs())
	case *eventv1.PlaybackSkipped:
		times = append(times, e.GetPositionMs(), e.GetHeardMs())
	case *eventv1.PlaybackEnded:
		times = append(times, e.GetHeardMs())
		words["reason"] = e.GetReason()
	case *eventv1.PlaybackError:
		words["code"] = e.GetCode()
		texts["message"] = e.GetMessage()
	case *eventv1.QualityChanged:
		rates = append(rates, e.GetFromKbps(), e.GetToKbps())
	}
	for _, ms := range times {
		if ms > maxDayMS {
			return "a time is over a day"
		}
	}
	for _, r := range rates {
		if r > 10_000 {
			return "a quality is over 10000 kbit/s"
		}
	}
	return checkTexts(words, texts)
}

func checkTexts(words, texts map[string]string) string {
	for name, s := range words {
		if len(s) > maxWord || !utf8.ValidString(s) {
			return name + " is over 64 bytes or not UTF-8"
		}
	}
	for name, s := range texts {
		if len(s) > maxText || !utf8.ValidString(s) {
			return name + " is over 512 bytes or not UTF-8"
		}
	}
	return ""
}

// name of a diagnostic, a value or a label: what a metric may be called.
func plain(s string) bool {
	if s == "" || len(s) > maxWord || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_.") == ""
}

func checkDiagnostic(d *eventv1.ClientDiagnostic) string {
	if !plain(d.GetName()) {
		return "name is not lower-case letters, digits, dots and underscores, at most 64"
	}
	if len(d.GetValues())+len(d.GetLabels()) > maxValues {
		return "more than 64 values and labels"
	}
	for name, v := range d.GetValues() {
		if !plain(name) {
			return "a value's name is not lower-case letters, digits, dots and underscores, at most 64"
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "a value is not finite"
		}
	}
	for name, s := range d.GetLabels() {
		if !plain(name) {
			return "a label's name is not lower-case letters, digits, dots and underscores, at most 64"
		}
		if len(s) > maxText || !utf8.ValidString(s) {
			return "a label is over 512 bytes or not UTF-8"
		}
	}
	return ""
}
