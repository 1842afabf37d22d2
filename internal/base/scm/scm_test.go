package scm

import (
	"errors"
	"io"
	"os"
	"testing"
)

func TestMessageArrivesWithItsFiles(t *testing.T) {
	a, peer, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	b := Open(peer)
	defer b.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := a.Send(map[string]int{"n": 7}, w); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var got map[string]int
	files, err := b.Recv(&got)
	if err != nil || got["n"] != 7 || len(files) != 1 {
		t.Fatalf("got %v, %d files, %v", got, len(files), err)
	}
	if _, err := files[0].WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	files[0].Close()
	text, err := io.ReadAll(r)
	if err != nil || string(text) != "hello" {
		t.Fatalf("read %q, %v", text, err)
	}
	a.Close()
	if _, err := b.Recv(&got); !errors.Is(err, io.EOF) {
		t.Fatalf("after close: %v, want EOF", err)
	}
}

func TestOversizeMessageIsRefusedAtTheSender(t *testing.T) {
	a, peer, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer peer.Close()
	if err := a.Send(make([]byte, MaxMessage)); err == nil {
		t.Fatal("sent a message over the limit")
	}
}
