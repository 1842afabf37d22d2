package wire

import (
	"bufio"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/base/fault"
)

// TestAWayThatLeadsNowhereIsSaidInWords: for people, and whole.
func TestAWayThatLeadsNowhereIsSaidInWords(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "out")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for answer, says := range map[string]string{
		"no name\n": "the name of mail.example:25 isn't found", "refused\n": "mail.example:25 refuses connections", "late\n": "mail.example:25 doesn't answer",
		"no\n": "mail.example:25 can't be reached", "unnamed\n": "ward.yaml doesn't name it", "": "mail.example:25 can't be reached",
	} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = bufio.NewReader(c).ReadString('\n')
			_, _ = c.Write([]byte(answer))
		}()
		_, err := DialEgress(t.Context(), socket, "mail.example:25")
		<-done
		if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.PublicText(err), says) || strings.Contains(err.Error(), "%!") {
			t.Errorf("%q: %v", answer, err)
		}
	}
}
