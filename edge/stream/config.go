package stream

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
)

// Config of the edge.
type Config struct {
	// Listen is the UDP address of QUIC; port 0 takes a free one.
	Listen string
	// PublicHost is what clients are told, host or host:port. Empty is the host they
	// reach the API by, with the bound port.
	PublicHost string
	// Origins are the web origins, comma-separated, whose pages may open WebTransport,
	// besides loopback.
	Origins string
	// EdgeID names this edge in its reports.
	EdgeID string
	// Site is the name by which edges behind one address take each other's object tokens;
	// empty is EdgeID, so that this edge takes its own only.
	Site string
	// CDN is the content delivery network that clients read objects from, if any.
	CDN CDNConfig
	// Objects is how many sealed objects are held open with their index.
	Objects int
	// Handshakes per second from which on addresses are verified first (a round trip more).
	Handshakes int
	// MaxConns and MaxConnsPerIP bound the open QUIC connections.
	MaxConns, MaxConnsPerIP int
	// ReportEvery is how often what was served is reported to playback.
	ReportEvery time.Duration
	// DrainTimeout is how long open streams may take to end after the stop signal.
	DrainTimeout time.Duration
}

// CDNConfig of a content delivery network before /o/.
type CDNConfig struct {
	// URL is its origin as clients see it, such as https://cdn.example.org.
	URL string
	// KeyName and KeyFile sign as Cloud CDN asks for; without, objects have tokens of ours.
	KeyName, KeyFile string
	// CookieDomain is the domain of signed cookies; empty gives none.
	CookieDomain string
}

// RegisterFlags declares the flags; the defaults stand here only.
func (c *Config) RegisterFlags(prefix string, fs *flag.FlagSet) {
	host, err := os.Hostname()
	if err != nil || len(host) > maxEdgeID {
		host = "edge"
	}
	fs.StringVar(&c.Listen, prefix+".listen", "127.0.0.1:8420", "UDP address of QUIC and WebTransport; port 0 takes a free one")
	fs.StringVar(&c.PublicHost, prefix+".public-host", "", "host or host:port that clients are told; empty is the host of the API")
	fs.StringVar(&c.Origins, prefix+".origins", "", "comma-separated web origins that may open WebTransport, besides loopback and the server's own")
	fs.StringVar(&c.EdgeID, prefix+".edge-id", host, "name of this edge in reports, different for each edge")
	fs.StringVar(&c.Site, prefix+".site", "", "name that edges behind one address share, by which they take each other's object tokens; empty is the edge-id")
	fs.StringVar(&c.CDN.URL, prefix+".cdn-url", "", "URL of a CDN before /o/, such as https://cdn.example.org (deploy/nginx.conf is one); empty sends clients to the API's own")
	fs.StringVar(&c.CDN.KeyName, prefix+".cdn-key-name", "", "name of the key by which URLs are signed as Google's Cloud CDN asks for")
	fs.StringVar(&c.CDN.KeyFile, prefix+".cdn-key.file", "", "file with that key, 16 bytes in base64url; empty has objects' own tokens, which the CDN has to check here")
	fs.StringVar(&c.CDN.CookieDomain, prefix+".cdn-cookie-domain", "", "domain of signed cookies, one that the API and the CDN share; empty gives none")
	fs.IntVar(&c.Objects, prefix+".objects", 512, "sealed objects held open with their index")
	fs.IntVar(&c.Handshakes, prefix+".handshakes", 500, "new connections per second above which their addresses are verified first")
	fs.IntVar(&c.MaxConns, prefix+".max-conns", 20_000, "open QUIC connections")
	fs.IntVar(&c.MaxConnsPerIP, prefix+".max-conns-per-ip", 256, "open QUIC connections of one address (IPv6: one /64)")
	fs.DurationVar(&c.ReportEvery, prefix+".report-every", time.Second, "how often what was served is reported")
	fs.DurationVar(&c.DrainTimeout, prefix+".drain-timeout", 5*time.Second, "how long streams may take to end after the stop signal")
}

const maxEdgeID = 64

// Validate refuses values that cannot work.
func (c *Config) Validate() error {
	switch {
	case c.EdgeID == "" || len(c.EdgeID) > maxEdgeID:
		return fmt.Errorf("edge-id must have 1 to %d bytes", maxEdgeID)
	case len(c.Site) > maxEdgeID:
		return fmt.Errorf("site must have at most %d bytes", maxEdgeID)
	case c.Objects < 1 || c.Handshakes < 1 || c.MaxConns < 1 || c.MaxConnsPerIP < 1:
		return errors.New("objects, handshakes, max-conns and max-conns-per-ip must be positive")
	case c.ReportEvery <= 0 || c.DrainTimeout <= 0:
		return errors.New("report-every and drain-timeout must be positive")
	}
	if err := c.CDN.check(); err != nil {
		return err
	}
	if _, err := parseOrigins(c.Origins); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

// parseOrigins reads a list of origins such as https://music.example.
func parseOrigins(list string) ([]string, error) {
	var out []string
	for o := range strings.SplitSeq(list, ",") {
		o = strings.TrimSpace(o)
		if o == "" {
			continue
		}
		u, err := url.Parse(o)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
			return nil, fmt.Errorf("origin %q is not of the form https://host", o)
		}
		out = append(out, strings.ToLower(u.Scheme+"://"+u.Host))
	}
	return out, nil
}

// originAllowed reports whether pages of origin may connect: those of the list, and
// those of loopback. A missing origin is refused: every browser sends one.
func originAllowed(origin string, list []string) bool {
	u, err := url.Parse(strings.ToLower(origin))
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return false
	}
	if h := u.Hostname(); h == "localhost" || net.ParseIP(h).IsLoopback() {
		return true
	}
	for _, o := range list {
		if o == u.Scheme+"://"+u.Host {
			return true
		}
	}
	return false
}
