package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// keeper is a control that keeps lines, when it isn't away.
type keeper struct {
	mu    sync.Mutex
	err   error
	calls int
	lines []LogLine
}

func (k *keeper) take(_ context.Context, all []LogLine) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls++
	if k.err == nil {
		k.lines = append(k.lines, all...)
	}
	return k.err
}

func (k *keeper) comesBack() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = nil
}

func TestLogsWaitForControlWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeper{err: errors.Join(ErrNoAnswer)}
		h := NewLogSender(k.take)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); h.Run(ctx) }()
		const flood = 5000
		long := strings.Repeat("x", 1000)
		for i := range flood {
			h.Add("noisy", 0, time.Now(), long)
			if i%1000 == 0 {
				h.Add("quiet", 0, time.Now(), fmt.Sprint("line ", i))
				time.Sleep(time.Second)
			}
		}
		h.mu.Lock()
		if h.size > maxWaiting || h.sizes["noisy"] > mayWait {
			t.Errorf("%d bytes wait, %v", h.size, h.sizes)
		}
		h.mu.Unlock()
		k.comesBack()
		time.Sleep(2 * shipEvery)
		stop()
		<-done
		noisy, quiet, lost := 0, 0, 0
		for _, l := range k.lines {
			switch {
			case l.Lost > 0:
				lost += int(l.Lost)
			case l.Service == "noisy":
				noisy++
			default:
				quiet++
			}
		}
		if quiet != flood/1000 || lost == 0 || noisy+lost != flood || h.size != 0 || len(h.sizes) != 0 {
			t.Errorf("%d lines of the noisy one and %d of the quiet one came, %d are said to be lost; %d bytes are still counted", noisy, quiet, lost, h.size)
		}
	})
}

func TestLogsThatControlRefusesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeper{err: errors.New("the disk is full")}
		h := NewLogSender(k.take)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); h.Run(ctx) }()
		for range 3 {
			h.Add("web", 1, time.Now(), "x")
		}
		time.Sleep(time.Minute)
		k.comesBack()
		time.Sleep(2 * shipEvery)
		stop()
		<-done
		if len(k.lines) != 1 || k.lines[0].Lost != 3 || k.calls > 300 {
			t.Errorf("%+v, %d calls in a minute", k.lines, k.calls)
		}
	})
}

func TestFlushWaitsForWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeper{}
		h := NewLogSender(k.take)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); h.Run(ctx) }()
		h.Add("web", 0, time.Now(), "last words")
		h.Flush()
		if len(k.lines) != 1 {
			t.Errorf("%+v", k.lines)
		}
		stop()
		<-done
	})
}

func TestManyNoisyServicesStayWithinTheBound(t *testing.T) {
	h := NewLogSender(nil)
	long := strings.Repeat("x", 10_000)
	for i := range 4000 {
		h.Add(fmt.Sprint("s", i%40), 0, time.Time{}, long)
	}
	if h.size > maxWaiting || len(h.lost) != 40 {
		t.Errorf("%d bytes wait; lines of %d services are lost", h.size, len(h.lost))
	}
}
