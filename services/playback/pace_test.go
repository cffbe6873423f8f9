package playback

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// commits notes what is committed together.
type commits struct {
	mu   sync.Mutex
	at   []time.Time
	sets [][]string
	fail string // a play that cannot be committed
}

func (c *commits) commit(_ context.Context, edits []*edit) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var plays []string
	for _, e := range edits {
		if e.playID == c.fail {
			return errors.New("cannot be committed")
		}
		plays = append(plays, e.playID)
	}
	c.at, c.sets = append(c.at, time.Now()), append(c.sets, plays)
	return nil
}

func TestPace(t *testing.T) {
	one := func(play string) []*edit { return []*edit{{userID: "u", playID: play}} }
	for name, test := range map[string]func(*testing.T, *commits, *pace){
		"an isolated call does not wait": func(t *testing.T, _ *commits, p *pace) {
			for range 3 {
				before := time.Now()
				if err := p.do(t.Context(), one("a")); err != nil || time.Since(before) != 0 {
					t.Errorf("took %s, %v", time.Since(before), err)
				}
				<-time.After(time.Second)
			}
		},
		"calls share a commit": func(t *testing.T, c *commits, p *pace) {
			var wg sync.WaitGroup
			for i := range 1000 { // one each 2 ms: two seconds
				wg.Go(func() {
					<-time.After(time.Duration(i) * 2 * time.Millisecond)
					before := time.Now()
					if err := p.do(t.Context(), one(fmt.Sprint(i))); err != nil || time.Since(before) > p.every {
						t.Errorf("call %d took %s, %v", i, time.Since(before), err)
					}
				})
			}
			wg.Wait()
			plays := map[string]bool{}
			for _, set := range c.sets {
				for _, play := range set {
					plays[play] = true
				}
			}
			if len(plays) != 1000 || len(c.sets) > 10 {
				t.Errorf("%d plays in %d commits", len(plays), len(c.sets))
			}
		},
		"edits of one play keep their order and stay apart": func(t *testing.T, c *commits, p *pace) {
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					<-time.After(time.Duration(i+1) * time.Millisecond)
					if err := p.do(t.Context(), []*edit{{userID: "u", playID: "a"}, {userID: "u", playID: fmt.Sprint(i)}}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			for i, set := range c.sets {
				if len(set) != 2 || set[1] != fmt.Sprint(i) {
					t.Errorf("commit %d: %v", i, set)
				}
			}
		},
		"one that fails does not fail the others": func(t *testing.T, c *commits, p *pace) {
			c.fail = "bad"
			if err := p.do(t.Context(), one("first")); err != nil {
				t.Error(err)
			}
			var wg sync.WaitGroup
			for _, play := range []string{"a", "bad", "b"} {
				wg.Go(func() {
					if err := p.do(t.Context(), one(play)); (err != nil) != (play == "bad") {
						t.Errorf("%s: %v", play, err)
					}
				})
			}
			wg.Wait()
		},
		"a caller that gives up does not stop the others": func(t *testing.T, _ *commits, p *pace) {
			if err := p.do(t.Context(), one("first")); err != nil {
				t.Error(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), p.every/2)
			defer cancel()
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := p.do(ctx, one("a")); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if err := p.do(t.Context(), one("b")); err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &commits{}
				p := &pace{every: 250 * time.Millisecond, commit: c.commit}
				<-time.After(time.Minute) // the clock begins at the zero of last
				test(t, c, p)
				<-time.After(time.Minute) // nothing is left running
			})
		})
	}
}
