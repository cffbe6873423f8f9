package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
	"github.com/segue-music/segue/gen/segue/collect/v1/collectv1connect"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/test/built"
	"github.com/segue-music/segue/test/person"
)

// app is one that sends, on a connection of its own.
type app struct {
	client collectv1connect.CollectServiceClient
	device string
	next   int
}

// signIn makes an account for each app.
func signIn(ctx context.Context, s *built.Segue, n int) ([]*app, error) {
	web := &http.Transport{TLSClientConfig: s.Trust.Clone(), ForceAttemptHTTP2: true}
	admin, err := person.SignIn(ctx, web, s.HTTP, "admin", built.Password)
	if err != nil {
		return nil, err
	}
	people := userv1connect.NewAccountServiceClient(admin.Client(web), s.HTTP)
	apps := make([]*app, n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for i := range apps {
		g.Go(func() error {
			name := fmt.Sprintf("listener%d", i)
			_, err := people.CreateAccount(ctx, &userv1.CreateAccountRequest{
				Username: name, Password: built.Password, DisplayName: name, Roles: []authv1.Role{authv1.Role_ROLE_LISTENER}, Market: "US",
			})
			if err != nil {
				return fmt.Errorf("make account: %w", err)
			}
			own := &http.Transport{TLSClientConfig: s.Trust.Clone(), ForceAttemptHTTP2: true}
			p, err := person.SignIn(ctx, own, s.HTTP, name, built.Password)
			if err != nil {
				return err
			}
			apps[i] = &app{client: collectv1connect.NewCollectServiceClient(p.Client(own), s.HTTP), device: id.Derive("eventbench", name).String()}
			return nil
		})
	}
	return apps, g.Wait()
}

// send has all apps send for so long, together at a rate, or as fast as they are answered
// for 0; it gives how many events were taken and how long the answers took.
func send(ctx context.Context, apps []*app, batch, rate int, length time.Duration) (sent int64, answers []time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, length+30*time.Second)
	defer cancel()
	var total atomic.Int64
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for i, a := range apps {
		g.Go(func() error {
			every, due := time.Duration(0), began
			if rate > 0 {
				every = time.Second * time.Duration(batch*len(apps)) / time.Duration(rate)
				due = began.Add(every * time.Duration(i) / time.Duration(len(apps)))
			}
			var own []time.Duration
			for time.Since(began) < length {
				if every > 0 {
					// Who is late does not leave anything out.
					select {
					case <-time.After(time.Until(due)):
					case <-ctx.Done():
						return ctx.Err()
					}
					due = due.Add(every)
				}
				at := time.Now()
				res, err := a.client.SendEvents(ctx, &collectv1.SendEventsRequest{DeviceId: a.device, Events: a.events(batch, at)})
				if err != nil {
					return fmt.Errorf("send events: %w", err)
				}
				if len(res.GetRefused()) > 0 {
					return fmt.Errorf("send events: refused: %s", res.GetRefused()[0].GetReason())
				}
				own = append(own, time.Since(at))
				total.Add(int64(res.GetAccepted()))
			}
			mu.Lock()
			answers = append(answers, own...)
			mu.Unlock()
			return nil
		})
	}
	err = g.Wait()
	return total.Load(), answers, err
}

// events are as an app tells them after a start of a track.
func (a *app) events(n int, at time.Time) []*collectv1.ClientEvent {
	out := make([]*collectv1.ClientEvent, n)
	for i := range out {
		a.next++
		out[i] = &collectv1.ClientEvent{
			Id: fmt.Sprintf("e%d", a.next), ClientUnixMs: at.UnixMilli(),
			Payload: &collectv1.ClientEvent_Diagnostic{Diagnostic: &eventv1.ClientDiagnostic{
				Name:   "start",
				Values: map[string]float64{"start_ms": 40 + float64(a.next%200), "buffer_ms": 10_000},
				Labels: map[string]string{"transport": "webtransport"},
			}},
		}
	}
	return out
}

func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(q*float64(len(all))))]
}
