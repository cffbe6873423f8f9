package gateway

import (
	"net"

	"golang.org/x/sys/unix"
)

// maxUnsent bounds what the kernel keeps of an answer that the client does not read yet,
// bytes of one connection. What is on its way is not counted, so that fast clients far
// away lose nothing. Without it 1,000 connections that read nothing take gigabytes, and
// with the kernel's memory for TCP (tcp_mem) the service of all others.
const maxUnsent = 128 << 10

// boundUnsent sets the bound on a connection; see TCP_NOTSENT_LOWAT in tcp(7). One that
// has ended meanwhile, or is no TCP connection, is left as it is.
func boundUnsent(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // as said above
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
	})
}
