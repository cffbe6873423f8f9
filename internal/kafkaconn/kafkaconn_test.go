package kafkaconn

import (
	"flag"
	"strings"
	"testing"
)

func parsed(t *testing.T, args ...string) *Config {
	t.Helper()
	var c Config
	fs := flag.NewFlagSet("t", flag.ContinueOnError)
	c.RegisterFlags("kafka", "here", fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &c
}

func TestCheck(t *testing.T) {
	for args, want := range map[string]string{
		"":                            "",
		"-kafka=a:1,b:2":              "",
		"-kafka=a:1 -kafka-tls":       "",
		"-kafka=a":                    "is not host:port",
		"-kafka=a:1,:2":               "is not host:port",
		"-kafka-tls":                  "brokers that are not named",
		"-kafka=a:1 -kafka-ca.file=x": "certificates need tls",
		"-kafka=a:1 -kafka-tls -kafka-cert.file=x":                                              "go together",
		"-kafka=a:1 -kafka-username=u":                                                          "go together",
		"-kafka=a:1 -kafka-username=u -kafka-password.file=x":                                   "",
		"-kafka=a:1 -kafka-username=u -kafka-password.file=x -kafka-mechanism=GSSAPI":           "not known",
		"-kafka=a:1 -kafka-username=u -kafka-password.file=x -kafka-mechanism=PLAIN":            "needs tls",
		"-kafka=a:1 -kafka-tls -kafka-username=u -kafka-password.file=x -kafka-mechanism=PLAIN": "",
	} {
		err := parsed(t, strings.Fields(args)...).Check()
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	for _, args := range []string{
		"-kafka=a:1 -kafka-username=u -kafka-password.file=/missing", "-kafka=a:1 -kafka-tls -kafka-ca.file=/missing", "-kafka=a:1 -kafka-tls -kafka-cert.file=/missing -kafka-key.file=/missing",
	} {
		if _, err := parsed(t, strings.Fields(args)...).Options(); err == nil {
			t.Errorf("%s: no error", args)
		}
	}
}
