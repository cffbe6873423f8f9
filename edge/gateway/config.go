package gateway

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Config of the gateway.
type Config struct {
	Listen         string
	Insecure       bool
	TrustedProxies string // comma-separated prefixes
	CORSOrigins    string // comma-separated origins
	MaxUpload      int64  // bytes of one request
	MaxRequests    int    // at a time
	MaxStreams     int
	MaxConns       int
	MaxConnsPerIP  int
	DrainTimeout   time.Duration
	Rates          [classes]Rates
}

// class groups routes that share a rate.
type class uint8

// The classes of rate.
const (
	ClassPage class = iota
	ClassRPC
	ClassLogin
	ClassEvents
	ClassUpload
	ClassMedia
	classes
)

func (c class) String() string {
	return [...]string{"page", "rpc", "login", "events", "upload", "media", "?"}[min(c, classes)]
}

// Rates of one class.
type Rates struct{ IP, User Rate }

// Rate is so many requests a second, and so many at once. Its text is "50+200".
type Rate struct {
	PerSecond float64
	Burst     int
}

// MarshalText implements encoding.TextMarshaler.
func (r Rate) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%s+%d", strconv.FormatFloat(r.PerSecond, 'f', -1, 64), r.Burst), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rate) UnmarshalText(b []byte) error {
	rate, burst, ok := strings.Cut(string(b), "+")
	f, err1 := strconv.ParseFloat(rate, 64)
	n, err2 := strconv.Atoi(burst)
	if !ok || err1 != nil || err2 != nil || !(f > 0) || f > 1e6 || n < 1 || n > 1e6 {
		return fmt.Errorf("rate %q is not <per second>+<at once>, as in 50+200", b)
	}
	*r = Rate{f, n}
	return nil
}

// RegisterFlags names the flags and sets the defaults.
func (c *Config) RegisterFlags(prefix string, fs *flag.FlagSet) {
	fs.StringVar(&c.Listen, prefix+".listen", "127.0.0.1:8420", "address of the public HTTP door; port 0 takes a free one")
	fs.BoolVar(&c.Insecure, prefix+".insecure", false, "serve plain HTTP on other than loopback addresses too")
	fs.StringVar(&c.TrustedProxies, prefix+".trusted-proxies", "", "comma-separated networks whose X-Forwarded-For is believed")
	fs.StringVar(&c.CORSOrigins, prefix+".cors-origins", "", "comma-separated origins whose pages may call the API, besides the server's own")
	fs.Int64Var(&c.MaxUpload, prefix+".max-upload", 4<<30, "bytes of one upload request")
	fs.IntVar(&c.MaxRequests, prefix+".max-requests", 1024, "requests served at a time; more are told to come back")
	fs.IntVar(&c.MaxStreams, prefix+".max-streams", 8192, "streaming requests served at a time")
	fs.IntVar(&c.MaxConns, prefix+".max-conns", 16384, "open connections")
	fs.IntVar(&c.MaxConnsPerIP, prefix+".max-conns-per-ip", 256, "open connections of one address (IPv6: one /64)")
	fs.DurationVar(&c.DrainTimeout, prefix+".drain-timeout", 10*time.Second, "how long requests may go on after the stop signal")
	for cl, r := range map[class]Rates{
		ClassPage:   {Rate{100, 600}, Rate{100, 600}},
		ClassRPC:    {Rate{200, 800}, Rate{50, 200}},
		ClassLogin:  {Rate{5, 60}, Rate{5, 60}},
		ClassEvents: {Rate{100, 400}, Rate{10, 60}},
		ClassUpload: {Rate{100, 800}, Rate{50, 400}},
		ClassMedia:  {Rate{200, 1000}, Rate{200, 1000}},
	} {
		fs.TextVar(&c.Rates[cl].IP, prefix+".rate."+cl.String()+"-per-ip", r.IP, cl.String()+" requests of one address, per second + at once")
		fs.TextVar(&c.Rates[cl].User, prefix+".rate."+cl.String()+"-per-user", r.User, cl.String()+" requests of one account, per second + at once")
	}
}

// Check refuses what cannot be meant.
func (c *Config) Check() error {
	var errs []error
	if c.MaxUpload <= 0 {
		errs = append(errs, errors.New("max-upload must be above 0"))
	}
	for name, n := range map[string]int{"max-requests": c.MaxRequests, "max-streams": c.MaxStreams, "max-conns": c.MaxConns, "max-conns-per-ip": c.MaxConnsPerIP} {
		if n <= 0 {
			errs = append(errs, fmt.Errorf("%s must be above 0", name))
		}
	}
	for i := range classes {
		if r := c.Rates[i]; r.IP.PerSecond <= 0 || r.IP.Burst < 1 || r.User.PerSecond <= 0 || r.User.Burst < 1 {
			errs = append(errs, fmt.Errorf("rate of class %s is not set", i))
		}
	}
	for _, o := range splitList(c.CORSOrigins) {
		if u, err := url.Parse(o); err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.Scheme+"://"+u.Host != o {
			errs = append(errs, fmt.Errorf("%q is not an origin such as https://app.example.org", o))
		}
	}
	_, err := parsePrefixes(c.TrustedProxies)
	return errors.Join(append(errs, err)...)
}

func splitList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

type prefixes []netip.Prefix

func parsePrefixes(s string) (prefixes, error) {
	var out prefixes
	for _, part := range splitList(s) {
		p, err := netip.ParsePrefix(part)
		if a, addrErr := netip.ParseAddr(part); addrErr == nil {
			p, err = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q is not a network such as 10.0.0.0/8", part)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func (p prefixes) contain(a netip.Addr) bool {
	for _, n := range p {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
