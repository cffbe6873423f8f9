package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// target is a part of Segue that may run in a process of its own.
type target struct {
	name  string
	build func(context.Context, *process) error
}

// targets are all of them, in the order in which they start: owners of data first, doors
// last, so that the doors close first.
func targets() []target {
	return []target{
		{"user", buildUser},
		{"metadata", buildMetadata},
		{"playback", buildPlayback},
		{"upload", buildUpload},
		{"warehouse", buildWarehouse},
		{"charts", buildCharts},
		{"collect", buildCollect},
		{"edge", buildEdge},
		{"gateway", buildGateway},
	}
}

// all is the target that stands for every one.
const all = "all"

func targetNames() []string {
	var names []string
	for _, t := range targets() {
		names = append(names, t.name)
	}
	return names
}

// parseTargets reads "all", "migrate" or "load", which run none, or a comma-separated list.
func parseTargets(s string) ([]string, error) {
	if s == all {
		return targetNames(), nil
	}
	if s == migrateOnly || s == loadOnly {
		return nil, nil
	}
	var out []string
	for name := range strings.SplitSeq(s, ",") {
		name = strings.TrimSpace(name)
		if !slices.Contains(targetNames(), name) {
			return nil, fmt.Errorf("target %q is not all, migrate, load or one of %s", name, strings.Join(targetNames(), ", "))
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, nil
}
