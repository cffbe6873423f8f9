// Package show writes what seguectl has to say: tables and JSON, and progress bars where
// a person watches. What comes from a server is text of strangers, and cannot move the
// cursor or recolour the terminal.
package show

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/rivo/uniseg"
	"golang.org/x/term"
)

// Terminal reports whether w is one.
func Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Clean makes text safe for a terminal and one line long: control characters, and those
// that turn the direction of writing, become spaces.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), r == '\u2028', r == '\u2029', // line ends
			r == '\u200e', r == '\u200f', r == '\u061c', // direction marks
			r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069': // overrides and isolates
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// JSON writes v, indented.
func JSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// Table writes rows under a header in columns as wide as they need to be.
func Table(w io.Writer, header []string, rows [][]string) error {
	all := append([][]string{header}, rows...)
	widths := make([]int, len(header))
	clean := make([][]string, len(all))
	for i, row := range all {
		clean[i] = make([]string, len(header))
		for j := range min(len(row), len(header)) {
			clean[i][j] = Clean(row[j])
			widths[j] = max(widths[j], uniseg.StringWidth(clean[i][j]))
		}
	}
	var b strings.Builder
	for _, row := range clean {
		var line strings.Builder
		for j, cell := range row {
			line.WriteString(cell)
			if j < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[j]-uniseg.StringWidth(cell)+2))
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// Duration writes milliseconds as 3:05 or 1:02:03.
func Duration(ms uint64) string {
	s := ms / 1000
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}
