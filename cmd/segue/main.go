// Segue is a music streaming platform in one program. Without flags it runs everything
// in ./data; -target picks services of a cluster. See -help.
package main

import (
	"os"

	"github.com/segue-music/segue/audio/ffmpeg"
	"github.com/segue-music/segue/internal/app"
)

var version = "dev" // set by the linker

func main() {
	// The decoder's sandbox is this program started again; it must come before anything else.
	if len(os.Args) > 1 && os.Args[1] == app.SandboxCommand {
		os.Exit(ffmpeg.SandboxMain(os.Args[2:]))
	}
	os.Exit(app.Main(version, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
