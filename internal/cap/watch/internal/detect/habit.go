package detect

import (
	"fmt"
	"time"

	"github.com/wardhq/ward/internal/wire"
)

// habit is how often something happens in an hour: the most of the last days, let go slowly.
type habit struct {
	hour   time.Time
	count  int64
	usual  float64
	hours  int // that were seen
	raised bool
}

// What is far from habit: more than farTimes the busiest hour so far, and more than farLeast at all, once farHours were seen.
const (
	farTimes = 10
	farLeast = 1000
	farHours = 6
	fade     = 0.98 // of the busiest hour, each hour
)

// add counts n at a time, and tells once an hour that it is far from habit.
func (h *habit) add(now time.Time, n int64) bool {
	if hour := now.Truncate(time.Hour); !hour.Equal(h.hour) {
		if !h.hour.IsZero() {
			h.usual = max(h.usual*fade, float64(h.count))
			h.hours++
		}
		h.hour, h.count, h.raised = hour, 0, false
	}
	h.count += n
	if h.raised || h.hours < farHours || h.count < farLeast || float64(h.count) < farTimes*h.usual {
		return false
	}
	h.raised = true
	return true
}

// habit is a use of a key or a secret.
func (d *Detector) habit(s Signal, e *wire.Event) []Signal {
	h := d.usual.get(e.Kind+" "+e.Subject+" "+e.Object, e.Time)
	if !h.add(e.Time, max(e.Count, 1)) {
		return nil
	}
	s.Rule, s.Service = "secret-habit", e.Subject
	s.What = fmt.Sprintf("%s used %s %d times in this hour; its busiest hour so far had %.0f.", e.Subject, e.Object, h.count, h.usual)
	return []Signal{s}
}

// Volume looks at what a service has sent to an external since it was last told, in bytes.
func (d *Detector) Volume(caller, target string, bytes int64, now time.Time) []Signal {
	const unit = 64 << 10 // so that farLeast of them are 64 MB
	h := d.usual.get("volume "+caller+" "+target, now)
	if !h.add(now, bytes/unit) {
		return nil
	}
	return []Signal{{
		Rule: "egress-volume", Subject: caller, Object: target, Service: caller, Record: -1, Time: now,
		What: fmt.Sprintf("%s sent %d MB to %s in this hour; its busiest hour so far had %.0f MB.", caller, h.count*unit>>20, target, h.usual*unit/(1<<20)),
	}}
}
