package upload

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/audio/analysis"
	"github.com/segue-music/segue/audio/loudness"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

// features are what metadata is told of the sound. What could not be told is absent.
func features(r *analysis.Result, l loudness.Result) *metadatav1.AudioFeatures {
	f := &metadatav1.AudioFeatures{Version: analysis.Version}
	if l.Integrated > loudness.Silence {
		f.LoudnessLufs, f.LoudnessRangeLu = number(l.Integrated), number(l.Range)
	}
	if b := &r.Beat; b.Tempo.BPM > 0 {
		f.Bpm, f.BpmConfidence = number(b.Tempo.BPM), float32(b.Tempo.Probability)
		f.Metre, f.MetreConfidence = uint32(b.Metre), float32(b.MetreConfidence)
	}
	if keys := r.Tonal.Keys; len(keys) > 0 {
		f.Key, f.Minor, f.KeyConfidence = proto.Uint32(uint32(keys[0].Key.Tonic)), keys[0].Key.Minor, float32(keys[0].Probability)
		f.TuningCents = number(r.Tonal.Tuning)
	}
	if r.Feel.Known {
		f.Energy, f.Danceability, f.Valence = number(r.Feel.Energy), number(r.Feel.Danceability), number(r.Feel.Valence)
		f.Acousticness, f.Speechiness = number(r.Feel.Acousticness), number(r.Feel.Speechiness)
	}
	f.SoundStartMs, f.FadeInEndMs = millis(r.Ends.Start), millis(r.Ends.FadeInEnd)
	f.FadeOutStartMs, f.SoundEndMs = millis(r.Ends.FadeOutStart), millis(r.Ends.End)
	return f
}

func number(v float64) *float32 { return proto.Float32(float32(v)) }

func millis(seconds float64) uint32 { return uint32(seconds*1000 + 0.5) }

// Features are kept as protojson: what a later version of the program adds, an earlier one
// leaves alone.
func packFeatures(f *metadatav1.AudioFeatures) (json.RawMessage, error) {
	out, err := protojson.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("pack features: %w", err)
	}
	return out, nil
}

// unpackFeatures is nil for a file that was measured before there were any.
func unpackFeatures(packed json.RawMessage) (*metadatav1.AudioFeatures, error) {
	if len(packed) == 0 {
		return nil, nil
	}
	f := &metadatav1.AudioFeatures{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(packed, f); err != nil {
		return nil, fmt.Errorf("unpack features: %w", err)
	}
	return f, nil
}
