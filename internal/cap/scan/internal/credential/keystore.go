package credential

import (
	"bytes"
	"crypto/sha256"
	"strings"

	"github.com/wardhq/ward/internal/finding"
)

// isKeystore knows a PKCS #12 file by its beginning: a sequence with a long length, the version 3, and a sequence (RFC 7292 section 4).
func isKeystore(src []byte) bool {
	return len(src) > 8 && src[0] == 0x30 && src[1] == 0x82 && bytes.Equal(src[4:8], []byte{2, 1, 3, 0x30})
}

// namedKeystore tells whether a file is called as such files are.
func namedKeystore(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasSuffix(lower, ".p12") || strings.HasSuffix(lower, ".pfx")
}

// keystore is the rule for a file that is one as a whole. Whether it holds a private key, or certificates alone, can't be told without its
// password.
func keystore() *rule {
	return &rule{
		ID: "secret-keystore", Title: "key store (PKCS #12)", severity: finding.Medium,
		Opens: "try passwords on it, and then be whoever its keys stand for", Revoke: "where its certificates are trusted",
		URL: "https://www.rfc-editor.org/rfc/rfc7292", unsure: "it may hold certificates without a private key",
	}
}

func (m *matcher) keystore(src []byte) hit {
	return hit{rule: m.store, value: sha256.Sum256(src), number: 1}
}
