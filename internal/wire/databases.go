package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
)

// DatabaseUserRequest is about the user that Ward makes for an instance of a service at a database.
type DatabaseUserRequest struct {
	Database string   `json:"database"` // the plan's name
	Instance Instance `json:"instance"`
	User     string   `json:"user,omitempty"` // to renew, or to end
}

// DatabaseUser is such a user. The database itself ends it at Until.
type DatabaseUser struct {
	User     string    `json:"user"`
	Password []byte    `json:"password,omitempty"` // only when it is made
	Until    time.Time `json:"until"`
}

// MakeDatabaseUser makes a user (agents only).
func (c *Client) MakeDatabaseUser(ctx context.Context, r DatabaseUserRequest) (DatabaseUser, error) {
	var out DatabaseUser
	return out, c.Call(ctx, http.MethodPost, "/v1/database-user", r, &out)
}

// RenewDatabaseUser lets a user live on; fault.NotFound if it is gone (agents only).
func (c *Client) RenewDatabaseUser(ctx context.Context, r DatabaseUserRequest) (DatabaseUser, error) {
	var out DatabaseUser
	return out, c.Call(ctx, http.MethodPost, "/v1/database-user/renew", r, &out)
}

// EndDatabaseUser ends a user, and returns when it is gone (agents only).
func (c *Client) EndDatabaseUser(ctx context.Context, r DatabaseUserRequest) error {
	return c.Call(ctx, http.MethodPost, "/v1/database-user/end", r, nil)
}

// EgressDatabase begins a destination on control's way out that is a database of the plan.
const EgressDatabase = "database:"

// DialEgress dials through the agent, from control, which has no network: socket is the way out, to a destination that ward.yaml
// names, "host:port" or EgressDatabase and a name. The agent looks names up, and refuses what the file doesn't name.
func DialEgress(ctx context.Context, socket, to string) (net.Conn, error) {
	if strings.ContainsAny(to, "\r\n") {
		return nil, errors.New("dial: not an address")
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("reach the way out: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(c, to+"\n"); err != nil {
		c.Close()
		return nil, fmt.Errorf("reach the way out: %w", err)
	}
	in := bufio.NewReaderSize(c, 16) // "ok\n" comes alone: the other end speaks after it
	answer, err := in.ReadSlice('\n')
	if word := EgressAnswer(strings.TrimSuffix(string(answer), "\n")); err != nil || word != EgressReached {
		c.Close()
		if err == nil {
			err = fmt.Errorf("the agent says %q", string(word))
		}
		return nil, fault.Wrap(fault.Unavailable, word.say(to), fmt.Errorf("dial %s: %w", to, err))
	}
	return &afterAnswer{Conn: c, in: in}, nil
}

// EgressAnswer is what the agent says of a destination, a line of at most 16 bytes.
type EgressAnswer string

// The answers.
const (
	EgressReached EgressAnswer = "ok"
	EgressUnnamed EgressAnswer = "unnamed" // ward.yaml doesn't name it
	EgressUnknown EgressAnswer = "no name" // nobody knows the host
	EgressRefused EgressAnswer = "refused" // by the host
	EgressLate    EgressAnswer = "late"
	EgressFailed  EgressAnswer = "no" // for another reason
)

// say is the answer as a sentence.
func (a EgressAnswer) say(to string) string {
	switch a {
	case EgressUnnamed:
		return to + " is refused by Ward's egress: ward.yaml doesn't name it"
	case EgressUnknown:
		return "the name of " + to + " isn't found"
	case EgressRefused:
		return to + " refuses connections"
	case EgressLate:
		return to + " doesn't answer"
	}
	return to + " can't be reached; see the agent's log"
}

// afterAnswer reads what came right behind the answer first.
type afterAnswer struct {
	net.Conn
	in *bufio.Reader
}

// Read implements net.Conn.
func (a *afterAnswer) Read(b []byte) (int, error) { return a.in.Read(b) }
