package upload_test

import (
	"os"
	"testing"

	"github.com/segue-music/segue/audio/ffmpeg"
)

// TestMain lets the test binary stand in for segue: it is what the Runner starts again
// to build the sandbox.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sandbox-exec" {
		os.Exit(ffmpeg.SandboxMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}
