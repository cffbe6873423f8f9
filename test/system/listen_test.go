//go:build system

package system

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"io"
	"time"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/wire"
)

// listening is a streaming session of a person's device.
type listening struct {
	*client.Session
	p        *person
	id       string
	key      [16]byte
	ticket   []byte
	quic     string
	fallback string
}

// open opens a streaming session. With blocked, QUIC leads to where nobody listens.
func (p *person) open(blocked bool) *listening {
	p.d.Helper()
	l, err := p.tryOpen(blocked, nil)
	if err != nil {
		p.d.Fatalf("open session: %v", err)
	}
	p.d.Cleanup(func() { _ = l.Close() })
	return l
}

// tryOpen is open for any goroutine; the caller closes the session. resume may be nil.
func (p *person) tryOpen(blocked bool, resume *client.Resumption) (*listening, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	res, err := p.Sessions.OpenSession(p.d.Context(), &playbackv1.OpenSessionRequest{
		DeviceId: p.Device, DeviceName: "test of " + p.Name, Client: "test/system", PublicKey: key.PublicKey().Bytes(),
	})
	if err != nil {
		return nil, err
	}
	sessionID, err := id.Parse(res.GetSessionId())
	if err != nil {
		return nil, err
	}
	sessionKey, err := seal.OpenSessionKey(key, sessionID, res.GetSealedKey())
	if err != nil {
		return nil, err
	}
	e := res.GetEndpoints()[0]
	l := &listening{p: p, id: res.GetSessionId(), key: sessionKey, ticket: res.GetTicket(), quic: p.d.process("edge").addr.QUIC, fallback: e.GetFallback()}
	at := client.Endpoint{QUIC: l.quic, CertificateSHA256: e.GetCertificateSha256(), Fallback: l.fallback}
	if blocked {
		at.QUIC = "127.0.0.1:1"
	}
	l.Session, err = client.Open(client.Config{
		SessionID: sessionID, SessionKey: sessionKey, Ticket: res.GetTicket(), TicketExpires: time.UnixMilli(res.GetTicketExpiresUnixMs()),
		Endpoints: []client.Endpoint{at}, Resumption: resume,
		RenewTicket: func(ctx context.Context) ([]byte, time.Time, error) {
			res, err := p.Sessions.RenewTicket(ctx, &playbackv1.RenewTicketRequest{SessionId: l.id})
			return res.GetTicket(), time.UnixMilli(res.GetTicketExpiresUnixMs()), err
		},
	})
	return l, err
}

// activate makes the device the active one, about to play a track.
func (p *person) activate(track string) *playbackv1.PlayerState {
	p.d.Helper()
	var out *playbackv1.PlayerState
	p.d.until(10*time.Second, "the activation", func() error {
		now, err := p.Player.GetPlayer(p.Context(), &playbackv1.GetPlayerRequest{})
		if err != nil {
			return err
		}
		res, err := p.Player.UpdatePlayer(p.Context(), &playbackv1.UpdatePlayerRequest{
			Revision: now.GetState().GetRevision(), DeviceId: p.Device, Activate: true,
			State: &playbackv1.PlayerState{
				Queue: []*playbackv1.QueueItem{{TrackId: track, ContextUri: "segue:track:" + track}}, Playing: true, VolumeMilli: 500,
			},
		})
		out = res.GetState()
		return err
	})
	return out
}

func trackID(d *deployment, s string) id.ID {
	d.Helper()
	t, err := id.Parse(s)
	if err != nil {
		d.Fatal(err)
	}
	return t
}

// sound plays a whole track as quickly as it comes: its Ogg pages, decrypted.
func (l *listening) sound(track string, quality wire.Quality) (ogg []byte, samples uint64, stats client.Stats, err error) {
	l.p.d.Helper()
	ctx, cancel := context.WithTimeout(l.p.Context(), 30*time.Second)
	defer cancel()
	st, err := l.Play(ctx, client.Request{Track: trackID(l.p.d, track), Quality: quality})
	if err != nil {
		return nil, 0, stats, err
	}
	defer st.Close()
	ogg = append(ogg, st.Setup()...)
	for {
		rec, err := st.Next()
		if errors.Is(err, io.EOF) {
			return ogg, samples, st.Stats(), nil
		}
		if err != nil {
			return ogg, samples, st.Stats(), err
		}
		if rec.First != samples {
			l.p.d.Errorf("record %d begins at %d after %d", rec.Number, rec.First, samples)
		}
		samples = rec.End
		ogg = append(ogg, rec.Pages...)
	}
}

// hold begins a play whose listener hears nothing, so that it stays open. ended gets how
// it ended.
func (l *listening) hold(track string) (ended <-chan error) {
	l.p.d.Helper()
	st, err := l.Play(l.p.Context(), client.Request{
		Track: trackID(l.p.d, track), Quality: wire.Kbps96, Played: func() time.Duration { return 0 },
	})
	if err != nil {
		l.p.d.Fatalf("play: %v", err)
	}
	l.p.d.Cleanup(func() { _ = st.Close() })
	if _, err := st.Next(); err != nil {
		l.p.d.Fatalf("first record: %v", err)
	}
	out := make(chan error, 1)
	go func() {
		for {
			if _, err := st.Next(); err != nil {
				out <- err
				return
			}
		}
	}()
	return out
}

// ends waits for the end of a held play.
func (d *deployment) ends(ended <-chan error, within time.Duration) error {
	d.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(within):
		d.Fatalf("the stream has not ended within %s", within)
		return nil
	}
}
