package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/segue-music/segue/test/running"
)

// folder is where running engines have their data and what is told of them.
type folder struct{ *running.Folder }

func openFolder(dir string) (folder, error) {
	f, err := running.Open(dir)
	return folder{f}, err
}

// stop ends the process that runs the engines, and they with it.
func (f folder) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := f.Stop(ctx); err != nil {
		return fmt.Errorf("%w: see %s", err, f.Path("engines.log"))
	}
	return nil
}

// tell writes the addresses, for a shell and as JSON; engines.sh comes last and says that
// all are ready.
func (f folder) tell(addresses map[string]string) error {
	text, err := json.MarshalIndent(addresses, "", "  ")
	if err != nil {
		return err
	}
	var shell strings.Builder
	for _, name := range slices.Sorted(maps.Keys(addresses)) {
		fmt.Fprintf(&shell, "export ENGINE_%s='%s'\n", strings.ToUpper(name), strings.ReplaceAll(addresses[name], "'", `'\''`))
	}
	for name, text := range map[string][]byte{"engines.json": append(text, '\n'), ".engines.sh": []byte(shell.String())} {
		if err := os.WriteFile(f.Path(name), text, 0o600); err != nil {
			return err
		}
	}
	return os.Rename(f.Path(".engines.sh"), f.Path("engines.sh"))
}

// clear removes what was told and the data.
func (f folder) clear() error {
	return errors.Join(os.RemoveAll(f.Path("engines.sh")), os.RemoveAll(f.Path("engines.json")), os.RemoveAll(f.Path("data")))
}
