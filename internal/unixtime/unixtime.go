// Package unixtime is times as databases keep them: UTC in whole milliseconds or
// nanoseconds since 1970. The zero time is 0, and so is 1970 itself.
package unixtime

import "time"

// Milli is t in milliseconds.
func Milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// FromMilli is the time of ms.
func FromMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Nano is t in nanoseconds.
func Nano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// FromNano is the time of ns.
func FromNano(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
