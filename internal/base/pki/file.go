package pki

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// maxCertificates bounds a file of certificates, in bytes.
const maxCertificates = 1 << 20

// FileEnds is when the first certificate of a PEM file ends (RFC 7468; the leaf comes first, RFC 5246 §7.4.2).
func FileEnds(path string) (time.Time, error) {
	f, err := os.Open(path)
	if err != nil {
		return time.Time{}, fmt.Errorf("read certificate: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCertificates))
	if err != nil {
		return time.Time{}, fmt.Errorf("read certificate: %w", err)
	}
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return time.Time{}, fmt.Errorf("read certificate: %w", err)
		}
		return c.NotAfter, nil
	}
	return time.Time{}, errors.New("read certificate: the file has none")
}
