package oidc

import (
	"testing"

	"github.com/wardhq/ward/internal/wardtest/postgres"
)

// TestOnPostgres repeats on PostgreSQL what depends on the database.
func TestOnPostgres(t *testing.T) {
	server := postgres.Start(t)
	for name, test := range map[string]func(*testing.T){
		"sign-in": TestSignIn, "code replay": TestCodeReplayEndsEverything, "a code once": TestACodeIsUsedOnce, "refresh": TestRefreshRotates,
		"reuse": TestRefreshReuseAfterTheWindowEndsTheFamily, "assertion": TestAnAssertionCountsOnceAcrossRestarts, "consent": TestConsent,
		"exchange": TestTokenExchange, "DPoP": TestDPoP, "PAR": TestPushedRequests, "device": TestDevice, "revocation": TestRevocation,
		"logout": TestLogout, "back channel": TestBackChannelLogout, "CORS": TestCORS, "expiry": TestRefreshExpires,
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(databaseVar, string(server.Database(t).Reveal()))
			test(t)
		})
	}
}
