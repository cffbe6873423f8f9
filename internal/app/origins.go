package app

import (
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
)

// publicURL is where browsers reach the gateway: as configured, or where it listens; of a
// listener on every address the first that others on the network can use.
func (p *process) publicURL() string {
	if u := p.config.PublicURL; u != "" {
		return strings.TrimSuffix(u, "/")
	}
	if all := p.listening.Load(); all != nil {
		return (*all)[0]
	}
	return ""
}

// origins are all origins of the web player: the public one, and the names of this
// machine that lead to the same listener.
func (p *process) origins() []string {
	out := []string{p.publicURL()}
	if all := p.listening.Load(); all != nil {
		for _, o := range *all {
			if !slices.Contains(out, o) {
				out = append(out, o)
			}
		}
	}
	return out
}

// listenOrigins are the origins that lead to the listener of a base URL, best first.
func listenOrigins(u url.URL) []string {
	hosts := []string{u.Hostname()}
	ip := net.ParseIP(u.Hostname())
	switch {
	case ip != nil && ip.IsUnspecified():
		hosts = append(machineHosts(), "localhost", "127.0.0.1")
	case ip != nil && ip.IsLoopback():
		hosts = append(hosts, "localhost", "127.0.0.1")
	}
	var out []string
	for _, h := range hosts {
		if o := origin(u.Scheme, h, u.Port()); !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	return out
}

// origin is written as browsers do: without the scheme's own port (RFC 6454, section 6.1).
func origin(scheme, host, port string) string {
	if (scheme == "http" && port == "80") || (scheme == "https" && port == "443") {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return scheme + "://" + host
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// machineHosts are the addresses and names of this machine on its networks.
func machineHosts() []string {
	var out []string
	addrs, _ := net.InterfaceAddrs() // without them the names still work
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			out = append(out, n.IP.String())
		}
	}
	if name, err := os.Hostname(); err == nil {
		out = append(out, name, name+".local")
	}
	return out
}
