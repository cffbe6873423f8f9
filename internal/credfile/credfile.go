// Package credfile reads the files that an operator gives: passwords, and the certificates
// of authorities.
package credfile

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"os"
)

// Password is what a file holds, without the line's end that editors put behind it.
func Password(path string) (string, error) {
	b, err := os.ReadFile(path)
	return string(bytes.TrimRight(b, "\r\n")), err
}

// Authorities are the certificates in a PEM file, of which there must be one.
func Authorities(path string) (*x509.CertPool, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s has no certificate", path)
	}
	return pool, nil
}
