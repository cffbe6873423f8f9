package app

import (
	"errors"
	"flag"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/segue-music/segue/internal/mtls"
)

// rpcConfig says how processes reach each other.
type rpcConfig struct {
	Listen, Peers string
	MaxCalls      int
	Certificates  mtls.Files
}

// RegisterFlags adds the settings under prefix.
func (c *rpcConfig) RegisterFlags(prefix string, fs *flag.FlagSet) {
	fs.StringVar(&c.Listen, prefix+".listen", "", "address for calls from other processes, on a private network; empty takes none")
	fs.IntVar(&c.MaxCalls, prefix+".max-calls", 1024, "calls of other processes worked on at a time, fewer under load; more are told to come back")
	fs.StringVar(&c.Peers, prefix+".peers", "", "comma-separated target=URL of services in other processes, once for each instance; dns+https://host:port stands for every address of the host. Those that run in this one are passed over, so that all may share a list")
	fs.StringVar(&c.Certificates.Cert, prefix+".cert.file", "", "certificate of this process in PEM, with a name TARGET.segue.internal for each of its targets; with it calls are by TLS, both ways, and nobody is called by another name than its certificate's")
	fs.StringVar(&c.Certificates.Key, prefix+".key.file", "", "its private key in PEM")
	fs.StringVar(&c.Certificates.CA, prefix+".ca.file", "", "certificate in PEM of the authority that signs those of all processes")
}

// Check refuses what cannot be meant.
func (c *rpcConfig) Check() error {
	if c.MaxCalls <= 0 {
		return errors.New("max-calls must be above 0")
	}
	_, err := c.peers()
	return err
}

// peers are the base URLs of the instances of each target.
func (c *rpcConfig) peers() (map[string][]string, error) {
	out := map[string][]string{}
	for part := range strings.SplitSeq(c.Peers, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, at, _ := strings.Cut(part, "=")
		u, err := url.Parse(strings.TrimPrefix(at, "dns+"))
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Trim(u.Path, "/") != "" || !slices.Contains(targetNames(), name) {
			return nil, fmt.Errorf("rpc.peers: %q is not target=http://host:port", part)
		}
		if (u.Scheme == "https") == c.Certificates.None() {
			return nil, fmt.Errorf("rpc.peers: %q: calls are by https with rpc.cert.file, and by http without", part)
		}
		out[name] = append(out[name], strings.TrimSuffix(at, "/"))
	}
	return out, nil
}
