package anchor

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
)

var errToken = errors.New("the time-stamp server's answer can't be read")

// oidSHA256 is that of RFC 5754 §2.2, oidSigned and oidTSTInfo those of RFC 5652 §5.1 and RFC 3161 §2.4.2.
func oidSHA256() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
}

func oidSigned() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2} }

func oidTSTInfo() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
}

// imprint is MessageImprint (RFC 3161 §2.4.1).
type imprint struct {
	Hash   pkix.AlgorithmIdentifier
	Digest []byte
}

// query is TimeStampReq (RFC 3161 §2.4.1).
type query struct {
	Version int
	Imprint imprint
	Nonce   *big.Int
	CertReq bool
}

// newQuery asks for a time-stamp of content, with a nonce that the answer must have.
func newQuery(content []byte) (der []byte, nonce *big.Int, err error) {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never returns an error (crypto/rand)
	b[0] = b[0]&0x7f | 0x40
	nonce = new(big.Int).SetBytes(b)
	sum := sha256.Sum256(content)
	der, err = asn1.Marshal(query{
		Version: 1, Imprint: imprint{pkix.AlgorithmIdentifier{Algorithm: oidSHA256(), Parameters: asn1.NullRawValue}, sum[:]}, Nonce: nonce, CertReq: true,
	})
	return der, nonce, err
}

// response is TimeStampResp (RFC 3161 §2.4.2).
type response struct {
	Status struct {
		Status  int
		Text    []asn1.RawValue `asn1:"optional"`
		Failure asn1.BitString  `asn1:"optional"`
	}
	Token contentInfo `asn1:"optional"`
}

// contentInfo is that of RFC 5652 §3.
type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"explicit,tag:0"`
}

// signedData is what is read of RFC 5652 §5.1.
type signedData struct {
	Version int
	Digests asn1.RawValue
	Content struct {
		Type asn1.ObjectIdentifier
		Info []byte `asn1:"explicit,tag:0"`
	}
}

// tstInfo is RFC 3161 §2.4.2.
type tstInfo struct {
	Version  int
	Policy   asn1.ObjectIdentifier
	Imprint  imprint
	Serial   *big.Int
	Time     asn1.RawValue
	Accuracy struct {
		Seconds int `asn1:"optional"`
		Millis  int `asn1:"optional,tag:0"`
		Micros  int `asn1:"optional,tag:1"`
	} `asn1:"optional"`
	Ordering bool     `asn1:"optional"`
	Nonce    *big.Int `asn1:"optional"`
}

// maxToken bounds a server's answer, in bytes.
const maxToken = 64 << 10

// ParseToken reads a time-stamp server's answer (RFC 3161 §2.4.2) about content, and returns when it saw it. It checks that the server granted
// it, for this content and, unless it is nil, this nonce. It doesn't check the signature, for which the server's certificate authority is
// needed: 'openssl ts -verify' does.
func ParseToken(der, content []byte, nonce *big.Int) (time.Time, error) {
	var r response
	if rest, err := asn1.Unmarshal(der, &r); err != nil || len(rest) > 0 || len(der) > maxToken {
		return time.Time{}, errToken
	}
	if r.Status.Status > 1 || r.Status.Status < 0 { // 0 granted, 1 grantedWithMods
		return time.Time{}, fmt.Errorf("the time-stamp server refused: status %d", r.Status.Status)
	}
	var s signedData
	if !r.Token.Type.Equal(oidSigned()) {
		return time.Time{}, errToken
	}
	if _, err := asn1.Unmarshal(r.Token.Content.Bytes, &s); err != nil || !s.Content.Type.Equal(oidTSTInfo()) {
		return time.Time{}, errToken
	}
	var t tstInfo
	if rest, err := asn1.Unmarshal(s.Content.Info, &t); err != nil || len(rest) > 0 {
		return time.Time{}, errToken
	}
	sum := sha256.Sum256(content)
	if !t.Imprint.Hash.Algorithm.Equal(oidSHA256()) || !bytes.Equal(t.Imprint.Digest, sum[:]) {
		return time.Time{}, errors.New("the time-stamp is of something else")
	}
	if nonce != nil && (t.Nonce == nil || t.Nonce.Cmp(nonce) != 0) {
		return time.Time{}, errors.New("the time-stamp is an old one")
	}
	at, err := time.Parse("20060102150405.999999999Z", string(t.Time.Bytes))
	if err != nil || t.Time.Tag != asn1.TagGeneralizedTime {
		return time.Time{}, errToken
	}
	return at, nil
}
