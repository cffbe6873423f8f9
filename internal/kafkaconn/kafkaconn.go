// Package kafkaconn says how a Kafka cluster is reached: its brokers, TLS, who we are.
package kafkaconn

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/segue-music/segue/internal/credfile"
)

// Config says where a cluster is. Without brokers there is none.
type Config struct {
	Brokers string // comma-separated host:port
	TLS     bool
	CAFile  string
	// CertFile and KeyFile are what brokers know us by that ask for certificates.
	CertFile, KeyFile string
	// Username and PasswordFile are for SASL, by Mechanism.
	Username, PasswordFile, Mechanism string
}

// RegisterFlags adds the settings: brokers by the name itself, the rest beside it, as a name
// with a value has no names below it in a file.
func (c *Config) RegisterFlags(name, what string, fs *flag.FlagSet) {
	fs.StringVar(&c.Brokers, name, "", "comma-separated host:port of Kafka brokers "+what)
	fs.BoolVar(&c.TLS, name+"-tls", false, "reach Kafka by TLS")
	fs.StringVar(&c.CAFile, name+"-ca.file", "", "file with the certificates (PEM) that vouch for the brokers; empty takes the system's")
	fs.StringVar(&c.CertFile, name+"-cert.file", "", "certificate in PEM by which the brokers know Segue; empty is none")
	fs.StringVar(&c.KeyFile, name+"-key.file", "", "its private key in PEM")
	fs.StringVar(&c.Username, name+"-username", "", "user for SASL; empty signs in to no broker")
	fs.StringVar(&c.PasswordFile, name+"-password.file", "", "file with the password of that user")
	fs.StringVar(&c.Mechanism, name+"-mechanism", scram512, "how the user signs in: "+scram512+", "+scram256+" or, by TLS only, "+plainText)
}

// The mechanisms, as SASL names them (RFC 5802, 7677, 4616).
const (
	scram512  = "SCRAM-SHA-512"
	scram256  = "SCRAM-SHA-256"
	plainText = "PLAIN"
)

// On tells whether there is a cluster.
func (c *Config) On() bool { return c.Brokers != "" }

func (c *Config) seeds() []string {
	list := strings.Split(c.Brokers, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// Check refuses what cannot be meant. It reads no file.
func (c *Config) Check() error {
	if !c.On() {
		if c.TLS || c.CAFile+c.CertFile+c.KeyFile+c.Username+c.PasswordFile != "" {
			return errors.New("settings for brokers that are not named")
		}
		return nil
	}
	var errs []error
	for _, addr := range c.seeds() {
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
			errs = append(errs, fmt.Errorf("broker %q is not host:port", addr))
		}
	}
	if !c.TLS && c.CAFile+c.CertFile+c.KeyFile != "" {
		errs = append(errs, errors.New("certificates need tls"))
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		errs = append(errs, errors.New("certificate and key go together"))
	}
	if (c.Username == "") != (c.PasswordFile == "") {
		errs = append(errs, errors.New("username and password go together"))
	}
	switch c.Mechanism {
	case scram512, scram256, "":
	case plainText:
		if c.Username != "" && !c.TLS {
			errs = append(errs, errors.New("mechanism PLAIN sends the password: it needs tls"))
		}
	default:
		errs = append(errs, fmt.Errorf("mechanism %q is not known", c.Mechanism))
	}
	return errors.Join(errs...)
}

// Options are those of a client. Files are read now: a new certificate or password is for
// the next start.
func (c *Config) Options() ([]kgo.Opt, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	opts := []kgo.Opt{kgo.SeedBrokers(c.seeds()...), kgo.ClientID("segue")}
	if c.TLS {
		conf, err := c.tls()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(conf))
	}
	if c.Username != "" {
		password, err := credfile.Password(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("read password: %w", err)
		}
		opts = append(opts, kgo.SASL(c.mechanism(password)))
	}
	return opts, nil
}

func (c *Config) tls() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	var err error
	if c.CAFile != "" {
		if conf.RootCAs, err = credfile.Authorities(c.CAFile); err != nil {
			return nil, fmt.Errorf("read certificates: %w", err)
		}
	}
	if c.CertFile != "" {
		own, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		conf.Certificates = []tls.Certificate{own}
	}
	return conf, nil
}

func (c *Config) mechanism(password string) sasl.Mechanism {
	switch c.Mechanism {
	case plainText:
		return plain.Auth{User: c.Username, Pass: password}.AsMechanism()
	case scram256:
		return scram.Auth{User: c.Username, Pass: password}.AsSha256Mechanism()
	}
	return scram.Auth{User: c.Username, Pass: password}.AsSha512Mechanism()
}
