package main

import (
	"regexp"
	"slices"
	"strings"
)

// allowed are the licences that a dependency may have without a word: none of them asks
// for more than a notice, or, MPL-2.0, for changes to its own files.
func allowed() []string {
	return []string{
		"Apache-2.0", "MIT", "MIT-0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MPL-2.0", "0BSD", "Unlicense", "CC0-1.0", "Zlib", "BSL-1.0",
		"BlueOak-1.0.0", "Python-2.0", "CC-BY-4.0",
	}
}

// clause is what a text of a licence says; all of the phrases, and none of the others.
type clause struct {
	licence string
	has     []string
	not     []string
}

const (
	bsdGrant = "redistribution and use in source and binary forms with or without modification are permitted"
	iscGrant = "permission to use copy modify and or distribute this software for any purpose with or without fee is hereby granted"
	mitGrant = "permission is hereby granted free of charge to any person obtaining a copy of this software"
	mitKeep  = "the above copyright notice and this permission notice"
	noName   = "may be used to endorse or promote products derived from this software without specific prior written permission"
)

// clauses recognise texts after [plain]. The words of a grant are what courts read, so
// they are what is looked for; names, years and wrapping differ.
func clauses() []clause {
	return []clause{
		{"Apache-2.0", []string{"apache license version 2 0", "terms and conditions for use reproduction and distribution"}, nil},
		{"Apache-2.0", []string{"licensed under the apache license version 2 0"}, []string{"terms and conditions for use reproduction"}},
		{"MIT", []string{mitGrant, mitKeep}, nil},
		{"MIT-0", []string{mitGrant}, []string{mitKeep}},
		{"BSD-3-Clause", []string{bsdGrant, noName}, nil},
		{"BSD-2-Clause", []string{bsdGrant}, []string{noName}},
		{"ISC", []string{iscGrant, "provided that the above copyright notice and this permission notice appear in all copies"}, nil},
		{"ISC", []string{"permission to use copy modify and distribute this software for any purpose with or without fee is hereby granted provided that the above copyright notice"}, nil},
		{"0BSD", []string{iscGrant}, []string{"provided that the above copyright notice"}},
		{"MPL-2.0", []string{"mozilla public license version 2 0", "covered software"}, nil},
		{"Unlicense", []string{"this is free and unencumbered software released into the public domain"}, nil},
		{"CC0-1.0", []string{"cc0 1 0 universal"}, nil},
		{"Zlib", []string{"this software is provided as is without any express or implied warranty", "altered source versions must be plainly marked as such"}, nil},
		{"BSL-1.0", []string{"boost software license version 1 0"}, nil},
		// What must be seen wherever it stands, though none of it is allowed.
		{"GPL", []string{"gnu general public license", "terms and conditions"}, []string{"gnu lesser general public license", "mozilla public license version 2 0"}},
		{"LGPL", []string{"gnu lesser general public license", "terms and conditions"}, []string{"mozilla public license version 2 0"}},
		{"AGPL", []string{"gnu affero general public license", "terms and conditions"}, []string{"mozilla public license version 2 0"}},
		{"SSPL", []string{"server side public license"}, nil},
		{"BUSL", []string{"business source license"}, nil},
		{"Elastic", []string{"elastic license"}, nil},
		{"Commons-Clause", []string{"commons clause"}, nil},
		{"CC-BY-NC", []string{"creative commons", "noncommercial"}, nil},
		{"CC-BY-SA", []string{"creative commons attribution sharealike"}, nil},
	}
}

var notWord = regexp.MustCompile(`[^a-z0-9]+`)

// plain is a text in lower case, its words apart by one space and nothing else.
func plain(s string) string {
	return strings.TrimSpace(notWord.ReplaceAllString(strings.ToLower(s), " "))
}

// classify names the licences in a text, each once.
func classify(text string) []string {
	p := plain(text)
	var out []string
	for _, c := range clauses() {
		missing := slices.ContainsFunc(c.has, func(s string) bool { return !strings.Contains(p, s) })
		spoilt := slices.ContainsFunc(c.not, func(s string) bool { return strings.Contains(p, s) })
		if !missing && !spoilt && !slices.Contains(out, c.licence) {
			out = append(out, c.licence)
		}
	}
	return out
}

// fileOfLicence matches the names under which licences are kept.
var fileOfLicence = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense|copyright)([-_.].*)?$`)
