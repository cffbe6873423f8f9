package testengine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// Folder is the environment variable that names the folder of the engines.
	Folder = "SEGUE_TEST_ENGINES"
	// Require is the environment variable that lists, with commas, the engines that must
	// be there.
	Require = "SEGUE_TEST_REQUIRE"
)

// Names are the engines that this package can start, as Require spells them.
func Names() []string { return []string{"cassandra", "gcs", "kafka", "postgres", "redis", "s3"} }

// entry is where an engine lies in the folder.
func entry(engine string) string {
	switch engine {
	case "s3":
		return "versitygw"
	case "gcs":
		return "fake-gcs-server"
	case "postgres":
		return "postgresql"
	case "redis":
		return "redis-server"
	}
	return engine
}

// errNotAsked says that nobody asked for the engine, so that a test may skip.
var errNotAsked = errors.New("nobody asked for the engine")

// find is the path of an engine. Where it is missing, errNotAsked is the error of one that
// nobody asked for.
func find(getenv func(string) string, engine string) (string, error) {
	must, err := required(getenv, engine)
	if err != nil {
		return "", err
	}
	path, err := inFolder(getenv(Folder), entry(engine))
	if err != nil && !must {
		err = fmt.Errorf("%w: %w", errNotAsked, err)
	}
	return path, err
}

// required tells whether an engine must be there: Require is the whole truth where it is
// set. Where it is not, whoever names a folder or runs in CI asks for every engine.
func required(getenv func(string) string, engine string) (bool, error) {
	list := getenv(Require)
	if list == "" {
		return getenv(Folder) != "" || getenv("CI") != "", nil
	}
	must := false
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		// A misspelt name would let its engine go missing without a word.
		if !slices.Contains(Names(), name) {
			return false, fmt.Errorf("%s: %q is none of %s", Require, name, strings.Join(Names(), ", "))
		}
		must = must || name == engine
	}
	return must, nil
}

// inFolder is the path of a name in the folder of the engines. Its links stay: Redis looks
// at the name by which it is called.
func inFolder(dir, name string) (string, error) {
	if dir == "" {
		return "", fmt.Errorf("%s is not set; make test-engines sets it", Folder)
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return "", fmt.Errorf("scripts/engines.sh did not fetch %s: %w", name, err)
	}
	return path, nil
}
