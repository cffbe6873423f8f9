package cassandradb

import (
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestConfig_Check(t *testing.T) {
	good := Config{Hosts: "a:9042, b:9042", Keyspace: "segue", Datacenter: "dc1", Replication: "dc1:3,dc2:2", Timeout: time.Second}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	if r, err := good.replication(); err != nil || r != "{'class': 'NetworkTopologyStrategy', 'dc1': 3, 'dc2': 2}" {
		t.Errorf("replication %s, %v", r, err)
	}
	for name, breakIt := range map[string]func(*Config){
		"host":        func(c *Config) { c.Hosts = "a:9042,b" },
		"keyspace":    func(c *Config) { c.Keyspace = "Segue" },
		"number":      func(c *Config) { c.Keyspace = "1segue" },
		"datacenter":  func(c *Config) { c.Datacenter = "" },
		"replication": func(c *Config) { c.Replication = "3" },
		"quote":       func(c *Config) { c.Replication = "dc'1:3" },
		"copies":      func(c *Config) { c.Replication = "dc1:0" },
		"user":        func(c *Config) { c.User = "segue" },
		"timeout":     func(c *Config) { c.Timeout = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			if breakIt(&c); c.Check() == nil {
				t.Errorf("%+v is fine", c)
			}
			if c.Hosts = ""; c.Check() != nil {
				t.Error("without hosts nothing is looked at")
			}
		})
	}
}

// A ring that is not there is one line, and soon.
func TestOpen_Unreachable(t *testing.T) {
	c := Config{Hosts: "127.0.0.1:1", Keyspace: "t", Datacenter: "dc1", Replication: "dc1:1", Timeout: time.Second}
	_, err := Open(t.Context(), c, Schema{Name: "a"}, Options{Log: slog.New(slog.DiscardHandler)})
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "open Cassandra at 127.0.0.1:1: ") {
		t.Errorf("open: %v", err)
	}
}

func TestModule_Files(t *testing.T) {
	m := Module{Name: "a", Migrations: fstest.MapFS{
		"00010_b.cql": {Data: []byte("CREATE TABLE b (x int);\n")},
		"00002_a.cql": {Data: []byte("-- First;\nCREATE TABLE a (\n  x int -- a ; here\n);\nALTER TABLE a ADD y int;")},
	}}
	got, err := m.files()
	want := []file{
		{2, "00002_a.cql", []string{"CREATE TABLE a (\n  x int -- a ; here\n)", "ALTER TABLE a ADD y int"}},
		{10, "00010_b.cql", []string{"CREATE TABLE b (x int)"}},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(file{})); err != nil || d != "" {
		t.Errorf("%v, (-want +got):\n%s", err, d)
	}
	m.Migrations = fstest.MapFS{"a.cql": {}}
	if _, err := m.files(); err == nil {
		t.Error("a file without a number is taken")
	}
}
