package charts

import "context"

// Follow takes over what was published since.
func (s *Service) Follow(ctx context.Context) error { return s.follow(ctx) }

// ParseSnapshot is parseSnapshot.
func ParseSnapshot(b []byte) (map[string][]Entry, error) { return parseSnapshot(b) }
