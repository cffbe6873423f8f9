// Package config gives each setting one name in three spellings: the flag
// -playback.ticket-life, the variable SEGUE_PLAYBACK_TICKET_LIFE and, in the YAML file,
// ticket-life under playback. A flag goes before the environment, which goes before the
// file. What is misspelt is an error in any of them.
package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// EnvPrefix begins the names of variables.
const EnvPrefix = "SEGUE_"

// ErrUnknown refuses a name that no setting has.
var ErrUnknown = errors.New("unknown setting")

// fileFlag names the flag of the YAML file.
const fileFlag = "config.file"

// Load parses arguments, variables (as os.Environ gives them) and, where the flag
// -config.file is set, that file into fs. Settings that end in "-file" and hold secrets
// are read by the modules that own them.
func Load(fs *flag.FlagSet, args, environ []string) error {
	if fs.Lookup(fileFlag) == nil {
		fs.String(fileFlag, "", "YAML file with settings")
	}
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%w: argument %q", ErrUnknown, fs.Arg(0))
	}
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if err := loadEnv(fs, environ, set); err != nil {
		return err
	}
	path := fs.Lookup(fileFlag).Value.String()
	if path == "" {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	return loadYAML(fs, path, b, set)
}

// EnvName is the variable of a flag.
func EnvName(flagName string) string {
	return EnvPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(flagName))
}

func loadEnv(fs *flag.FlagSet, environ []string, set map[string]bool) error {
	byEnv := map[string]string{}
	fs.VisitAll(func(f *flag.Flag) { byEnv[EnvName(f.Name)] = f.Name })
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, EnvPrefix) {
			continue
		}
		flagName, ok := byEnv[name]
		if !ok {
			return fmt.Errorf("%w: variable %s", ErrUnknown, name)
		}
		if set[flagName] {
			continue
		}
		if err := fs.Set(flagName, value); err != nil {
			return fmt.Errorf("variable %s: %w", name, err)
		}
		set[flagName] = true
	}
	return nil
}

func loadYAML(fs *flag.FlagSet, path string, b []byte, set map[string]bool) error {
	var doc map[string]any
	dec := yaml.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read settings: %s: %w", path, err)
	}
	flat := map[string]string{}
	if err := flatten("", doc, flat); err != nil {
		return fmt.Errorf("read settings: %s: %w", path, err)
	}
	for _, name := range sorted(flat) {
		if fs.Lookup(name) == nil || name == fileFlag {
			return fmt.Errorf("read settings: %s: %w: %s", path, ErrUnknown, name)
		}
		if set[name] {
			continue
		}
		if err := fs.Set(name, flat[name]); err != nil {
			return fmt.Errorf("read settings: %s: %s: %w", path, name, err)
		}
	}
	return nil
}

func flatten(prefix string, doc map[string]any, out map[string]string) error {
	for k, v := range doc {
		name := k
		if prefix != "" {
			name = prefix + "." + k
		}
		switch v := v.(type) {
		case map[string]any:
			if err := flatten(name, v, out); err != nil {
				return err
			}
		case []any:
			parts := make([]string, len(v))
			for i, p := range v {
				parts[i] = fmt.Sprint(p)
			}
			out[name] = strings.Join(parts, ",")
		case nil:
			return fmt.Errorf("%s has no value", name)
		default:
			out[name] = fmt.Sprint(v)
		}
	}
	return nil
}

func sorted(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Print writes the settings in force as the YAML that Load reads, secrets left out.
func Print(w io.Writer, fs *flag.FlagSet) error {
	doc := map[string]any{}
	fs.VisitAll(func(f *flag.Flag) {
		if f.Name == fileFlag || strings.HasSuffix(f.Name, "password") || strings.HasSuffix(f.Name, "secret") {
			return
		}
		m := doc
		parts := strings.Split(f.Name, ".")
		for _, p := range parts[:len(parts)-1] {
			sub, ok := m[p].(map[string]any)
			if !ok {
				sub = map[string]any{}
				m[p] = sub
			}
			m = sub
		}
		m[parts[len(parts)-1]] = f.Value.String()
	})
	enc := yaml.NewEncoder(w)
	if err := enc.Encode(doc); err != nil {
		return fmt.Errorf("print settings: %w", err)
	}
	return enc.Close()
}
