//go:build !linux

package gateway

import "net"

// boundUnsent leaves it to the system how much it keeps of what a client does not read.
func boundUnsent(net.Conn) {}
