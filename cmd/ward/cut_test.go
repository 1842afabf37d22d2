package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wardhq/ward/internal/wardtest"
)

// TestABlockEndsWhatStands within a second: a WebSocket, and streams over HTTP/1.1 and HTTP/2, and nobody else's.
func TestABlockEndsWhatStands(t *testing.T) {
	w := wardtest.Start(t, strings.Replace(openToBlocks, "GET /call,", "GET /call, ws /echo,", 1), nil)
	var ends [2][]<-chan error
	for i, address := range []string{"127.0.0.66", "127.0.0.67"} {
		ends[i] = []<-chan error{socket(t, w, address), streamed(t, w, address, "/stream?n=100000", false), streamed(t, w, address, "/stream?n=100000", true)}
	}
	statusOf(t, from("127.0.0.66"), w.URL+"/.env")
	wardtest.Eventually(t, "the client is blocked", func() bool {
		_, out, _ := say("answers", "-f", w.File)
		return strings.Contains(out, "127.0.0.66 is blocked")
	})
	deadline := time.After(time.Second)
	for i, end := range ends[0] {
		select {
		case <-end:
		case <-deadline:
			t.Fatalf("connection %d goes on a second after the block", i)
		}
	}
	for i, end := range ends[1] {
		select {
		case err := <-end:
			t.Errorf("connection %d of another client ended: %v", i, err)
		default:
		}
	}
}

// socket opens a WebSocket from an address, and tells when it ends.
func socket(t *testing.T, w *wardtest.World, address string) <-chan error {
	t.Helper()
	c := from(address)
	c.Timeout, c.Transport.(*http.Transport).ForceAttemptHTTP2 = 0, false
	ws, _, err := websocket.Dial(t.Context(), strings.Replace(w.URL, "https:", "wss:", 1)+"/echo", &websocket.DialOptions{HTTPClient: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	if err := ws.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, b, err := ws.Read(t.Context()); err != nil || !bytes.Equal(b, []byte("hello")) {
		t.Fatalf("%q %v", b, err)
	}
	end := make(chan error, 1)
	go func() {
		_, _, err := ws.Read(context.Background())
		end <- err
	}()
	return end
}

// streamed reads an answer that goes on, and tells when it ends.
func streamed(t *testing.T, w *wardtest.World, address, path string, h2 bool) <-chan error {
	t.Helper()
	c := from(address)
	c.Timeout, c.Transport.(*http.Transport).ForceAttemptHTTP2 = 0, h2
	resp, err := c.Get(w.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if want := fmt.Sprintf("HTTP/%d", map[bool]int{false: 1, true: 2}[h2]); !strings.HasPrefix(resp.Proto, want) {
		t.Fatalf("it is %s, not %s", resp.Proto, want)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, resp.Body)
		end <- err
	}()
	return end
}
