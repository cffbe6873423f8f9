// Command engines runs the foreign servers that Segue may stand on, for a developer: it
// starts them as the tests do, on free ports of this machine, and leaves them running.
//
//	engines start    starts those that do not run yet, and tells their addresses
//	engines stop     ends them, and nothing else
//	engines run      runs them until a signal, which is what start leaves behind
//
// Their data, their addresses (engines.sh and engines.json) and their log lie in one
// folder; the data go when they stop. One that dies ends all.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/segue-music/segue/internal/testengine"
)

// patience bounds a start of everything on a busy machine.
const patience = 4 * time.Minute

func main() {
	if err := command(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "engines:", err)
		os.Exit(1)
	}
}

func command(args []string, out io.Writer) error {
	fs := flag.NewFlagSet("engines", flag.ContinueOnError)
	dir := fs.String("dir", filepath.Join(os.TempDir(), "segue-engines-"+strconv.Itoa(os.Getuid())), "folder of the running engines")
	programs := fs.String("programs", os.Getenv(testengine.Folder), "folder that scripts/engines.sh fills")
	only := fs.String("only", strings.Join(testengine.Names(), ","), "comma-separated engines")
	if len(args) == 0 {
		return errors.New("usage: engines start|stop|run [-dir=…] [-programs=…] [-only=…]")
	}
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	f, err := openFolder(*dir)
	if err != nil {
		return err
	}
	switch args[0] {
	case "start":
		return start(f, *programs, *only, out)
	case "stop":
		return f.stop()
	case "run":
		ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer cancel()
		return run(ctx, f, *programs, strings.Split(*only, ","))
	}
	return fmt.Errorf("%q is none of start, stop, run", args[0])
}

// start leaves a process behind that runs the engines, unless there is one.
func start(f folder, programs, only string, out io.Writer) error {
	runner, err := f.Runner()
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	if runner == 0 {
		self, err := os.Executable()
		// What one that was killed has told is not true any more.
		if err = errors.Join(err, os.RemoveAll(f.Path("engines.sh"))); err != nil {
			return err
		}
		log, err := os.OpenFile(f.Path("engines.log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer log.Close()
		cmd := exec.Command(self, "run", "-dir="+string(*f.Folder), "-programs="+programs, "-only="+only) //nolint:noctx,gosec // it outlives this process; itself, by its own arguments
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return err
		}
		go func() { ended <- cmd.Wait() }()
	}
	limit := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(f.Path("engines.sh"))
		if err == nil {
			fmt.Fprintf(out, "%s# They are in %s and %s\n", text, f.Path("engines.sh"), f.Path("engines.json"))
			return nil
		}
		select {
		case err := <-ended:
			log, _ := os.ReadFile(f.Path("engines.log")) // told as far as it is there
			return fmt.Errorf("engines did not start: %w\n%s", err, log)
		case <-limit:
			return fmt.Errorf("engines are not ready after %s: see %s", patience, f.Path("engines.log"))
		case <-tick.C:
		}
	}
}
