//go:build system && fault

package system

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestFault_AbuseQUIC floods the edge with Initials that carry a whole ClientHello each,
// so that the server computes an answer: under connection ids that never come again, from
// many ports of many addresses, as forged ones would; and with handshakes that prove
// their address and then say nothing more. The bounds of memory: 256 handshakes of
// strangers and 16 of each verified address, 100 KiB each, and 64 MiB for the collector.
func TestFault_AbuseQUIC(t *testing.T) {
	attacked(t, []namedAttack{
		{"initials", 128, initials},
		{"half_open", 256, halfOpen},
	})
}

// initialSalt is of QUIC version 1, RFC 9001 section 5.2.
var initialSalt = []byte{ //nolint:gochecknoglobals // a constant
	0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a,
}

// clientHello is the first flight of a client of segue/1 whose source connection id is empty.
func clientHello() ([]byte, error) {
	q := tls.QUICClient(&tls.QUICConfig{TLSConfig: &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"segue/1"}, InsecureSkipVerify: true, ServerName: "localhost",
		CurvePreferences: []tls.CurveID{tls.X25519}, // one that fits in one packet
	}})
	defer q.Close()
	// initial_source_connection_id, initial_max_data and streams, active_connection_id_limit
	q.SetTransportParameters([]byte{0x0f, 0x00, 0x04, 0x04, 0x80, 0x10, 0x00, 0x00, 0x08, 0x01, 0x10, 0x0e, 0x01, 0x04})
	if err := q.Start(context.Background()); err != nil {
		return nil, err
	}
	for {
		e := q.NextEvent()
		if e.Kind == tls.QUICWriteData {
			return append([]byte(nil), e.Data...), nil
		}
		if e.Kind == tls.QUICNoEvent {
			return nil, errors.New("no ClientHello")
		}
	}
}

func expand(secret []byte, label string, n int) []byte {
	full := "tls13 " + label
	info := append([]byte{0, byte(n), byte(len(full))}, full...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		panic(err)
	}
	return out
}

// initialPacket seals a ClientHello for a destination id: RFC 9000 section 17.2.2, RFC
// 9001 section 5.
func initialPacket(dcid, token, hello []byte, number byte) []byte {
	root, err := hkdf.Extract(sha256.New, dcid, initialSalt)
	if err != nil {
		panic(err)
	}
	secret := expand(root, "client in", 32)
	key, iv, hp := expand(secret, "quic key", 16), expand(secret, "quic iv", 12), expand(secret, "quic hp", 16)
	frame := []byte{0x06, 0x00, byte(0x40 | len(hello)>>8), byte(len(hello))} // CRYPTO at 0
	frame = append(frame, hello...)
	head := append([]byte{0xc0, 0, 0, 0, 1, byte(len(dcid))}, dcid...)
	head = append(head, 0) // an empty source id
	head = append(head, byte(0x40|len(token)>>8), byte(len(token)))
	head = append(head, token...)
	const size = 1200
	length := size - len(head) - 2
	head = append(head, byte(0x40|length>>8), byte(length), number)
	plain := append(frame, make([]byte, length-1-16-len(frame))...) // PADDING
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	nonce := append([]byte(nil), iv...)
	nonce[11] ^= number
	at := len(head) - 1 // of the packet number
	packet := aead.Seal(head, nonce, plain, head)
	block, err = aes.NewCipher(hp)
	if err != nil {
		panic(err)
	}
	var mask [16]byte
	block.Encrypt(mask[:], packet[at+4:at+20])
	packet[0] ^= mask[0] & 0x0f
	packet[at] ^= mask[1]
	return packet
}

// retryOf reads a Retry: the token, and the id to go on with. RFC 9000 section 17.2.5.
func retryOf(b []byte) (token, scid []byte, ok bool) {
	if len(b) < 7 || b[0]&0xf0 != 0xf0 || binary.BigEndian.Uint32(b[1:]) != 1 {
		return nil, nil, false
	}
	b = b[5:]
	n := int(b[0])
	if len(b) < 2+n {
		return nil, nil, false
	}
	b = b[1+n:]
	n = int(b[0])
	if len(b) < 1+n+16 {
		return nil, nil, false
	}
	return append([]byte(nil), b[1+n:len(b)-16]...), append([]byte(nil), b[1:1+n]...), true
}

// udpFlood sends Initials from many sockets and counts the answers; answered is told of
// each datagram that comes back.
func udpFlood(ctx context.Context, d *deployment, sockets, rate int, answered func(c *net.UDPConn, b []byte)) (sent, retries, others int64) {
	hello, err := clientHello()
	if err != nil {
		d.Error(err)
		return 0, 0, 0
	}
	to, err := net.ResolveUDPAddr("udp", d.process("edge").addr.QUIC)
	if err != nil {
		d.Error(err)
		return 0, 0, 0
	}
	var nRetry, nOther atomic.Int64
	var wg sync.WaitGroup
	conns := make([]*net.UDPConn, sockets)
	for i := range conns {
		c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(attacker(i % 100))}, to)
		if err != nil {
			d.Error(err)
			return 0, 0, 0
		}
		conns[i] = c
		wg.Go(func() {
			buf := make([]byte, 2048)
			for {
				n, err := c.Read(buf)
				if err != nil {
					if ctx.Err() != nil {
						return
					}
					continue // an ICMP answer
				}
				if _, _, ok := retryOf(buf[:n]); ok {
					nRetry.Add(1)
				} else {
					nOther.Add(1)
				}
				if answered != nil {
					answered(c, buf[:n])
				}
			}
		})
	}
	paced(ctx, rate, func(i int) {
		dcid := make([]byte, 16)
		_, _ = rand.Read(dcid)
		if _, err := conns[i%sockets].Write(initialPacket(dcid, nil, hello, 0)); err == nil {
			sent++
		}
	})
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
	wg.Wait()
	for _, c := range conns {
		_ = c.Close()
	}
	return sent, nRetry.Load(), nOther.Load()
}

// initials sends Initials as forged ones would be: nobody reads what they cause.
func initials(ctx context.Context, d *deployment) string {
	rate := scaled(3000, 5000)
	sent, retries, others := udpFlood(ctx, d, 1000, rate, nil)
	if sent == 0 || retries == 0 || others == 0 {
		d.Errorf("%d sent, %d asked for proof, %d answered: the attack has not met the defence", sent, retries, others)
	}
	return fmt.Sprintf("%d Initials (%d/s) from 1000 ports of 100 addresses: %d Retries, %d datagrams of handshakes", sent, rate, retries, others)
}

// halfOpen answers each Retry with its token, and then nothing.
func halfOpen(ctx context.Context, d *deployment) string {
	hello, err := clientHello()
	if err != nil {
		d.Error(err)
		return ""
	}
	var proven atomic.Int64
	rate := scaled(1000, 2000)
	sent, retries, others := udpFlood(ctx, d, 1000, rate, func(c *net.UDPConn, b []byte) {
		if token, scid, ok := retryOf(b); ok {
			if _, err := c.Write(initialPacket(scid, token, hello, 1)); err == nil {
				proven.Add(1)
			}
		}
	})
	if proven.Load() == 0 {
		d.Error("no address was proved")
	}
	return fmt.Sprintf("%d Initials (%d/s) from 100 addresses, %d Retries, %d of them answered and left half open, %d other datagrams", sent, rate,
		retries, proven.Load(), others)
}
