package secrets

import (
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/secrets/internal/sealed"
)

// SealForGit encrypts a value for the recipients ("age1…") of controls, as an age file in armour that may lie in git.
func SealForGit(value secret.Bytes, recipients ...string) ([]byte, error) {
	return sealed.Seal(value, recipients...)
}
