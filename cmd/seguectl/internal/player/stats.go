package player

// Stats are of a whole run.
type Stats struct {
	// StartMs is from the call to the first decrypted page of the first track that played.
	StartMs   float64 `json:"start_ms"`
	Transport string  `json:"transport"`
	// Bytes are those of the frames that were received.
	Bytes uint64 `json:"bytes"`
	// Samples are frames of the output, at 44,100 a second.
	Samples uint64 `json:"samples"`
	// Gaps counts how often the output had nothing to play, and how often something of a
	// track was missing.
	Gaps   int          `json:"gaps"`
	Tracks []TrackStats `json:"tracks"`
}

// TrackStats are of one play.
type TrackStats struct {
	ID          string `json:"id"`
	QualityKbps uint32 `json:"quality_kbps"`
	// Rate is in samples per second. Samples were played, TotalSamples is what the track has.
	Rate         uint64 `json:"rate"`
	Samples      uint64 `json:"samples"`
	TotalSamples uint64 `json:"total_samples"`
	// StartMs is what the listener waited for: 0 for a track whose head was there when
	// its turn came. NetworkMs is from asking to the first decrypted page.
	StartMs    float64 `json:"start_ms"`
	NetworkMs  float64 `json:"network_ms"`
	Prefetched bool    `json:"prefetched"`
	Transport  string  `json:"transport"`
	Bytes      uint64  `json:"bytes"`
	// Resumed counts how often the stream went on after it had broken off.
	Resumed int    `json:"resumed"`
	Error   string `json:"error,omitempty"`

	frames, missing uint64
}

func (s *Stats) add(t TrackStats) {
	if s.Transport == "" && t.Transport != "" {
		s.StartMs, s.Transport = t.StartMs, t.Transport
	}
	s.Bytes += t.Bytes
	s.Samples += t.frames
	if t.missing > 0 {
		s.Gaps++
	}
	s.Tracks = append(s.Tracks, t)
}
