//go:build system

package system

import (
	"crypto/tls"
	"errors"
	"io"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/stream/wire"
)

func userv1connectKeys(p *person) userv1connect.KeyRingServiceClient {
	return userv1connect.NewKeyRingServiceClient(p, p.d.URL)
}

// dial opens a connection of segue/1 as anybody can.
func (d *deployment) dial() *quic.Conn {
	d.Helper()
	conn, err := quic.DialAddr(d.Context(), d.process("edge").addr.QUIC, looseTLS(), &quic.Config{MaxIdleTimeout: 30 * time.Second})
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	return conn
}

func looseTLS() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"segue/1"}, MinVersion: tls.VersionTLS13} // its hash is checked elsewhere
}

// frame is a PLAY in order, for a ticket.
func (d *deployment) frame(track string, ticket []byte) *wire.Play {
	d.Helper()
	return &wire.Play{Track: trackID(d, track), PlayID: trackID(d, newID()), Quality: wire.Kbps24, Codecs: wire.Vorbis.Set(), Ticket: ticket}
}

// answer reads frames until the first is asked for, the end, or a refusal.
func answer(r io.Reader, want wire.Type) (*wire.Frame, error) {
	in := wire.NewReader(r, wire.MaxServer)
	for {
		f, err := in.Next()
		if err != nil {
			return nil, err
		}
		if f.Type == wire.TypeErr {
			refusal, err := wire.ParseErr(f.Payload)
			if err != nil {
				return nil, err
			}
			return nil, refusal
		}
		if f.Type == want {
			return &f, nil
		}
		if f.Type == wire.TypeEnd {
			return nil, errors.New("ended")
		}
	}
}

// headOf asks for a track and reads HEAD.
func (d *deployment) headOf(l *listening, track string) *wire.Head {
	d.Helper()
	st, err := d.dial().OpenStreamSync(d.Context())
	if err != nil {
		d.Fatal(err)
	}
	defer st.CancelRead(quic.StreamErrorCode(wire.Cancelled))
	if _, err := st.Write(d.frame(track, l.ticket).Append(nil)); err != nil {
		d.Fatal(err)
	}
	f, err := answer(st, wire.TypeHead)
	if err != nil {
		d.Fatal(err)
	}
	head, err := wire.ParseHead(f.Payload)
	if err != nil {
		d.Fatal(err)
	}
	return head
}
