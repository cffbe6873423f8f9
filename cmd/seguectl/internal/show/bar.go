package show

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Bar shows how far something is: a bar on a terminal, lines anywhere else.
type Bar struct {
	mu    sync.Mutex
	w     io.Writer
	bar   *progressbar.ProgressBar // nil where there is no terminal
	label string
	max   int64
	said  string
}

// NewBytes makes a bar that counts bytes.
func NewBytes(w io.Writer, label string, total int64) *Bar {
	return newBar(w, label, total, progressbar.OptionShowBytes(true))
}

// NewCount makes a bar that counts things.
func NewCount(w io.Writer, label string, total int64) *Bar {
	return newBar(w, label, total, progressbar.OptionShowCount())
}

func newBar(w io.Writer, label string, total int64, opt progressbar.Option) *Bar {
	b := &Bar{w: w, label: label, max: total}
	if Terminal(w) {
		b.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(label),
			progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetPredictTime(true), opt)
	}
	return b
}

// Set says how far it is, of how many. A failure to draw is no failure.
func (b *Bar) Set(done, total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar == nil {
		return
	}
	if total != b.max {
		b.max = total
		b.bar.ChangeMax64(total)
	}
	_ = b.bar.Set64(min(done, total))
}

// Describe changes the text before the bar. Where there is no terminal each new text is a
// line.
func (b *Bar) Describe(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	text = Clean(text)
	if b.bar != nil {
		b.bar.Describe(text)
		return
	}
	if text != b.said {
		b.said = text
		fmt.Fprintln(b.w, text)
	}
}

// Line writes a line above the bar.
func (b *Bar) Line(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		_ = b.bar.Clear()
	}
	fmt.Fprintln(b.w, Clean(fmt.Sprintf(format, args...)))
	if b.bar != nil {
		_ = b.bar.RenderBlank()
	}
}

// Close takes the bar away.
func (b *Bar) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}
