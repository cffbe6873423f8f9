package app

import "strings"

// prefixes tell which target a path belongs to, for calls between processes.
var prefixes = []struct{ prefix, target string }{
	{"/segue.user.v1.", "user"}, {"/oauth/", "user"}, {"/login", "user"}, {"/.well-known/", "user"},
	{"/segue.metadata.v1.", "metadata"}, {"/artwork/", "metadata"},
	{"/segue.upload.v1.", "upload"}, {"/upload/v1/", "upload"},
	{"/segue.playback.v1.", "playback"},
	{"/segue.collect.v1.", "collect"},
	{"/segue.warehouse.v1.", "warehouse"},
	{"/segue.charts.v1.", "charts"},
	{"/stream/v1/", "edge"}, {"/o/", "edge"},
}

func targetOf(path string) string {
	for _, p := range prefixes {
		if strings.HasPrefix(path, p.prefix) {
			return p.target
		}
	}
	return ""
}
