package cli

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/rivo/uniseg"

	"github.com/segue-music/segue/cmd/seguectl/internal/api"
	"github.com/segue-music/segue/cmd/seguectl/internal/player"
	"github.com/segue-music/segue/cmd/seguectl/internal/show"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/stream/id"
)

// nowPlaying is the line that tells what is heard: on a terminal one that changes, else
// a line for each track.
type nowPlaying struct {
	r        *run
	terminal bool
	tracks   []id.ID

	mu     sync.Mutex
	titles map[string]string
	last   time.Time
	index  int
	width  int
}

// redraw is how often the line changes.
const redraw = 250 * time.Millisecond

func newNowPlaying(ctx context.Context, r *run, a *api.API, tracks []id.ID) *nowPlaying {
	n := &nowPlaying{r: r, terminal: show.Terminal(r.Err), tracks: tracks, titles: map[string]string{}, index: -1}
	if n.terminal || r.log.Enabled(ctx, slog.LevelInfo) {
		// The sound does not wait for the titles.
		go n.load(ctx, a)
	}
	return n
}

func (n *nowPlaying) load(ctx context.Context, a *api.API) {
	const most = 200 // of one request
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req := &metadatav1.GetTracksRequest{}
	for _, t := range n.tracks[:min(len(n.tracks), most)] {
		req.Ids = append(req.Ids, t.String())
	}
	res, err := a.Catalogue().GetTracks(ctx, req)
	if err != nil {
		n.r.log.Debug("titles are not known", "err", err)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range res.GetTracks() {
		n.titles[t.GetId()] = show.Clean(strings.Join(artistsOf(t), ", ") + " – " + t.GetTitle())
	}
}

func (n *nowPlaying) title(index int) string {
	key := n.tracks[index].String()
	if t := n.titles[key]; t != "" {
		return t
	}
	return key
}

func (n *nowPlaying) at(p player.Progress) {
	n.mu.Lock()
	defer n.mu.Unlock()
	begins := p.Index != n.index
	n.index = p.Index
	if !n.terminal {
		if begins {
			n.r.log.Info("plays", "track", n.title(p.Index), "kbps", p.Kbps, "transport", p.Transport)
		}
		return
	}
	if !begins && time.Since(n.last) < redraw {
		return
	}
	n.last = time.Now()
	text := fmt.Sprintf("%s  %s / %s  %d kbit/s, %s", n.title(p.Index), show.Duration(uint64(p.Position.Milliseconds())),
		show.Duration(uint64(p.Total.Milliseconds())), p.Kbps, p.Transport)
	width := uniseg.StringWidth(text)
	fmt.Fprint(n.r.Err, "\r", text, strings.Repeat(" ", max(n.width-width, 0)))
	n.width = width
}

func (n *nowPlaying) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.terminal && n.width > 0 {
		fmt.Fprintln(n.r.Err)
	}
}
