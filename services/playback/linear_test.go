package playback_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/internal/fault"
)

// player is the state of the model: what a compare-and-set register must hold.
type player struct {
	revision, epoch uint64
	active          string
	position        uint64
}

type input struct {
	write    bool
	revision uint64
	activate bool
	device   string
	position uint64
}

type output struct {
	state    player
	conflict bool
}

func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return player{} },
		Step: func(state, in, out any) (bool, any) {
			p, i, o := state.(player), in.(input), out.(output) //nolint:forcetypeassert // the model's own types
			if !i.write {
				return o.state == p, p
			}
			if i.revision != p.revision {
				return o.conflict, p
			}
			next := player{p.revision + 1, p.epoch, p.active, i.position}
			if i.activate {
				next.epoch, next.active = p.epoch+1, i.device
			}
			return !o.conflict && o.state == next, next
		},
	}
}

func view(s *playbackv1.PlayerState) player {
	return player{s.GetRevision(), s.GetActiveEpoch(), s.GetActiveDeviceId(), s.GetPositionMs()}
}

// TestPlayer_Linearizable: whatever devices do at once, there is one order of it that
// explains every answer.
func TestPlayer_Linearizable(t *testing.T) {
	f := setUp(t)
	const devices, steps = 5, 40
	start := time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	var wg sync.WaitGroup
	for n := range devices {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(n), 1))
			client := f.players(person("ann"))
			known := uint64(0)
			for range steps {
				in := input{write: rng.IntN(3) > 0, revision: known, activate: rng.IntN(3) == 0, device: ident("device", n), position: rng.Uint64N(1000)}
				op := porcupine.Operation{ClientId: n, Input: in, Call: time.Since(start).Nanoseconds()}
				var out output
				if in.write {
					res, err := client.UpdatePlayer(t.Context(), &playbackv1.UpdatePlayerRequest{
						Revision: in.revision, DeviceId: in.device, Activate: in.activate,
						State: &playbackv1.PlayerState{Queue: items(1), PositionMs: in.position},
					})
					out = output{view(res.GetState()), fault.KindOf(err) == fault.Conflict}
					if err != nil && !out.conflict {
						t.Error(err)
						return
					}
				} else {
					res, err := client.GetPlayer(t.Context(), &playbackv1.GetPlayerRequest{})
					if err != nil {
						t.Error(err)
						return
					}
					out.state = view(res.GetState())
				}
				if !out.conflict {
					known = out.state.revision
				} else {
					known++
				}
				op.Output, op.Return = out, time.Since(start).Nanoseconds()
				mu.Lock()
				history = append(history, op)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if res := porcupine.CheckOperationsTimeout(model(), history, 30*time.Second); res != porcupine.Ok {
		t.Errorf("%d operations: %v", len(history), res)
	}
	// The check itself can fail: an answer that never was.
	last := history[len(history)-1]
	last.Input, last.Output = input{}, output{state: player{revision: 1 << 40}}
	last.Call, last.Return = last.Return+1, last.Return+2
	if res := porcupine.CheckOperationsTimeout(model(), append(history, last), 30*time.Second); res == porcupine.Ok {
		t.Error("an impossible history passes")
	}
}
