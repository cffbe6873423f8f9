package deploy_test

import (
	"flag"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/segue-music/segue/internal/app"
	"github.com/segue-music/segue/internal/config"
)

// service is what the test reads of one in compose.yaml.
type service struct {
	Image       string
	Command     []string
	User        string
	ReadOnly    bool `yaml:"read_only"`
	Privileged  bool
	CapAdd      []string `yaml:"cap_add"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	Environment map[string]string
	Secrets     []string
	Volumes     []struct{ Type, Source, Target string }
}

var variable = regexp.MustCompile(`\$\{([A-Z0-9_]+)(:-([^}]*)|:\?[^}]*)?\}`)

// expand fills variables in as docker compose does, those without a default with their name.
func expand(s string) string {
	return variable.ReplaceAllStringFunc(s, func(m string) string {
		if p := variable.FindStringSubmatch(m); p[3] != "" {
			return p[3]
		}
		return variable.FindStringSubmatch(m)[1]
	})
}

// shipped reads settings as the built program does.
func shipped(path string, args, environ []string) error {
	fs := flag.NewFlagSet("segue", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	var c app.Config
	c.RegisterFlags(fs)
	if err := config.Load(fs, append([]string{"-config.file=" + path}, args...), environ); err != nil {
		return err
	}
	return c.Check()
}

// TestCompose: there is a service per target, locked up, whose settings are some.
func TestCompose(t *testing.T) {
	b, err := os.ReadFile(root + "/deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]service
		Volumes  map[string]any
		Secrets  map[string]struct{ File string }
	}
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for name, s := range file.Services {
		if image := expand(s.Image); !strings.Contains(image, ":") || strings.HasSuffix(image, ":latest") != strings.HasPrefix(image, "localhost/") {
			t.Errorf("%s has the image %s", name, image)
		}
		for _, v := range s.Volumes {
			if _, ok := file.Volumes[v.Source]; v.Type == "volume" && !ok {
				t.Errorf("%s has the volume %s, which is not there", name, v.Source)
			}
			used[v.Source] = true
		}
	}
	for v := range file.Volumes {
		if !used[v] {
			t.Errorf("the volume %s is nobody's", v)
		}
	}
	for _, name := range append(slices.Collect(maps.Keys(calls(t))), "migrate") {
		s, ok := file.Services[name]
		if !ok {
			t.Errorf("no service runs %s", name)
			continue
		}
		if s.User == "" || strings.HasPrefix(s.User, "0") || !s.ReadOnly || s.Privileged || len(s.CapAdd) > 0 ||
			!slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s is not locked up: %+v", name, s)
		}
		if len(s.Command) != 2 || s.Command[0] != "-config.file=/etc/segue.yaml" || s.Command[1] != "-target="+name {
			t.Errorf("%s runs %q", name, s.Command)
			continue
		}
		var environ []string
		for k, v := range s.Environment {
			environ = append(environ, k+"="+expand(v))
		}
		if err := shipped(root+"/deploy/config/cluster.yaml", s.Command[1:], environ); err != nil {
			t.Errorf("%s would not start: %v", name, err)
		}
		for _, secret := range s.Secrets {
			if !strings.Contains(file.Secrets[secret].File, "$") {
				t.Errorf("the secret %s stands in the file", secret)
			}
		}
	}
}
