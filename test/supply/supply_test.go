package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	mit = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and … The above\n" +
		" * copyright notice and this permission notice shall be included in all copies."
	bsd2 = "Redistribution and use in source and binary forms, with or\nwithout modification, are permitted provided …"
	bsd3 = bsd2 + " Neither the name of X nor the names of its contributors may be used to endorse or promote products derived\n" +
		"   from this software without specific prior written permission."
	isc = "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted"
	gpl = "GNU GENERAL PUBLIC LICENSE Version 2 … TERMS AND CONDITIONS FOR COPYING"
)

func TestClassify(t *testing.T) {
	for text, want := range map[string][]string{
		mit:  {"MIT"},
		bsd2: {"BSD-2-Clause"},
		bsd3: {"BSD-3-Clause"},
		isc + ", provided that the above copyright notice and this permission notice appear in all copies.": {"ISC"},
		isc + ".":          {"0BSD"},
		gpl:                {"GPL"},
		mit + "\n\n" + gpl: {"MIT", "GPL"},
		mit + " “Commons Clause” License Condition":                                                                     {"MIT", "Commons-Clause"},
		"Mozilla Public License Version 2.0 … Covered Software … the GNU General Public License … terms and conditions": {"MPL-2.0"},
		"All rights reserved.": nil,
		"":                     nil,
	} {
		if diff := cmp.Diff(want, classify(text)); diff != "" {
			t.Errorf("%.60q: %s", text, diff)
		}
	}
}

// TestClassify_Own: the text that this repository is under, as a whole and real.
func TestClassify_Own(t *testing.T) {
	b, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	if got := classify(string(b)); !cmp.Equal(got, []string{"Apache-2.0"}) {
		t.Errorf("%v", got)
	}
}

func TestAlternatives(t *testing.T) {
	for expr, want := range map[string][]string{
		"MIT": {"MIT"}, "(MIT OR GPL-3.0)": {"MIT"}, "(GPL-3.0 OR Apache-2.0)": {"Apache-2.0"}, "MIT AND GPL-3.0": {"MIT", "GPL-3.0"}, "": nil,
		"(LGPL-2.1 OR GPL-3.0)": {"LGPL-2.1 OR GPL-3.0"},
	} {
		if diff := cmp.Diff(want, alternatives(expr)); diff != "" {
			t.Errorf("%q: %s", expr, diff)
		}
	}
}

// TestJudge: what is not allowed is denied, unknown or not; an exception needs its reason
// and its dependency.
func TestJudge(t *testing.T) {
	good := dependency{name: "a", version: "v1", licences: []string{"MIT", "Apache-2.0"}}
	for name, c := range map[string]struct {
		dep   dependency
		table map[string]exception
		says  string
	}{
		"allowed":   {good, nil, ""},
		"denied":    {dependency{name: "b", licences: []string{"MIT", "GPL"}}, nil, "b : has GPL"},
		"unknown":   {dependency{name: "b"}, nil, "no licence was recognised"},
		"disagree":  {dependency{name: "b", licences: []string{"MIT"}, problem: "says GPL-3.0, its file is MIT"}, nil, "says GPL"},
		"excepted":  {dependency{name: "b", licences: []string{"GPL"}}, map[string]exception{"b": {"GPL", "not linked"}}, ""},
		"no_reason": {dependency{name: "b", licences: []string{"GPL"}}, map[string]exception{"b": {"GPL", ""}}, "no reason"},
		"stale":     {good, map[string]exception{"b": {"GPL", "not linked"}}, "needed no more"},
		"needless":  {good, map[string]exception{"a": {"MIT", "once unknown"}}, "needed no more"},
	} {
		t.Run(name, func(t *testing.T) {
			err := judge([]dependency{c.dep}, c.table, io.Discard)
			if (c.says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestVulndb(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	for i := range 1001 {
		id := fmt.Sprintf("GO-2026-%04d", i)
		write(t, filepath.Join(src, "data/osv", id+".json"), fmt.Sprintf(`{"id": %q, "modified": "2026-01-02T03:04:05Z", "affected": [
			{"package": {"name": "example.org/m%d", "ecosystem": "Go"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.9.0"}, {"introduced": "2.0.0"}, {"fixed": "2.10.0"}]}]},
			{"package": {"name": "example.org/npm", "ecosystem": "npm"}}]}`, id, i%2))
	}
	write(t, filepath.Join(src, "data/osv/GO-2026-0000.json"), `{"id": "GO-2026-0000", "withdrawn": "2026-02-01T00:00:00Z", "affected": [{"package": {"name": "example.org/gone", "ecosystem": "Go"}}]}`)
	if err := vulndb(src, dst, io.Discard); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dst, "index/modules.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got []module
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Path != "example.org/m0" || len(got[0].Vulns) != 500 || got[0].Vulns[0].Fixed != "2.10.0" {
		t.Errorf("%d modules: %.200s", len(got), b)
	}
	if _, err := os.Stat(filepath.Join(dst, "ID/GO-2026-0000.json")); err == nil {
		t.Error("a withdrawn report is there")
	}
	if err := vulndb(t.TempDir(), dst, io.Discard); err == nil {
		t.Error("an empty source is taken")
	}
}

func TestReadBOM(t *testing.T) {
	const head = `{"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {"component": {"bom-ref": "us"}}, `
	for name, c := range map[string]struct{ text, says string }{
		"good":       {head + `"components": [{"bom-ref": "a", "name": "a", "version": "1", "purl": "pkg:golang/a@1"}], "dependencies": [{"ref": "us", "dependsOn": ["a"]}]}`, ""},
		"format":     {`{"bomFormat": "SPDX", "specVersion": "1.6"}`, "no CycloneDX"},
		"double":     {head + `"components": [{"bom-ref": "a", "name": "a", "version": "1", "purl": "pkg:x"}, {"bom-ref": "a", "name": "a", "version": "1", "purl": "pkg:x"}]}`, "double"},
		"no_version": {head + `"components": [{"bom-ref": "a", "name": "a", "purl": "pkg:x"}]}`, "version"},
		"dangling":   {head + `"dependencies": [{"ref": "us", "dependsOn": ["b"]}]}`, `"b", which is no component`},
		"no_json":    {"{", "read"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bom.json")
			write(t, path, c.text)
			_, err := readBOM(path)
			if (c.says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
}
