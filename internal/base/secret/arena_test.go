package secret

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

func TestArenaMovesKeysAndZeroes(t *testing.T) {
	a, err := NewArena(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(a.Kind())
	given := bytes.Repeat([]byte{7}, KeySize)
	kept, err := a.Keep(given)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(given, make([]byte, KeySize)) {
		t.Error("the key is still where it came from")
	}
	if !bytes.Equal(kept.Reveal(), bytes.Repeat([]byte{7}, KeySize)) {
		t.Error("the key isn't what was given")
	}
	if second, err := a.Keep(bytes.Repeat([]byte{9}, KeySize)); err != nil || second.Reveal()[0] != 9 || kept.Reveal()[0] != 7 {
		t.Errorf("the second: %v", err)
	}
	if _, err := a.Keep(make([]byte, os.Getpagesize())); !errors.Is(err, ErrArenaFull) {
		t.Errorf("more than fits: %v", err)
	}
	// Appending to a kept key must not run into the next one.
	_ = append(kept.Reveal(), 1)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := a.Keep([]byte{1}); !errors.Is(err, ErrArenaFull) {
		t.Errorf("kept after Close: %v", err)
	}
}
