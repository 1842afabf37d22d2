package proxy

import (
	"errors"
	"sync"
)

var errEnded = errors.New("the right to the request has ended")

// cutAt calls cut once ended is closed, until stop, which waits for a cut under way.
func cutAt(ended <-chan struct{}, cut func()) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-ended:
			cut()
		case <-done:
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

// cutAtEnd is apart from follow, so that only who needs it pays for the closure.
func (s *serving) cutAtEnd() (stop func()) {
	return cutAt(s.verdict.Ends, func() { _ = s.Conn.Close() })
}
