package upload

// TrackOf is the track that an upload makes.
func TrackOf(uploadID string) string { return trackOf(uploadID) }

// Backoff is backoff.
var Backoff = backoff

// Scanning tells whether the first scan is under way.
func (s *Service) Scanning() bool { return s.scan.busy.Load() }
