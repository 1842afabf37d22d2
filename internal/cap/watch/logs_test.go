package watch

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/wire"
)

func TestLogsOfTheModelsServicesAreKept(t *testing.T) {
	w, now, _ := shop(t)
	at := now.Now()
	micros := at.UnixMicro()
	err := w.TakeLogs([]wire.LogLine{
		{Service: "web", Time: micros, Text: "hello"},
		{Service: "stranger", Time: micros, Text: "made up"},
		{Service: "../web", Time: micros, Text: "made up"},
		{Service: "", Time: micros, Text: "made up"},
		{Service: "web", Replica: 1, Time: at.Add(24 * time.Hour).UnixMicro(), Text: "from tomorrow"},
		{Service: "web", Time: micros, Text: "text beside", Lost: 7},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.Logs(context.Background(), LogQuery{})
	if err != nil || len(r.Entries) != 3 {
		t.Fatalf("%+v %v", r, err)
	}
	for _, e := range r.Entries {
		if e.Service != "web" || !e.Time.Equal(at) {
			t.Errorf("%+v", e)
		}
	}
	if e := r.Entries[0]; e.Level.String() != "gap" || !strings.HasPrefix(e.Text, "7 lines are missing") {
		t.Errorf("%+v", e)
	}
	if _, err := w.Logs(context.Background(), LogQuery{Services: []string{"stranger"}}); err == nil {
		t.Error("nobody says that there is no such service")
	}
	if err := w.TakeLogs(make([]wire.LogLine, maxLogLines+1)); err == nil {
		t.Error("a report without bounds was taken")
	}
}

// TestSearchesWaitForEachOther: a hundred readers don't take the processor from what control is there for.
func TestSearchesWaitForEachOther(t *testing.T) {
	w, now, _ := shop(t)
	if err := w.TakeLogs([]wire.LogLine{{Service: "web", Time: now.Now().UnixMicro(), Text: "x"}}); err != nil {
		t.Fatal(err)
	}
	for range searchesAtOne {
		w.searching <- struct{}{}
	}
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer stop()
	r, err := w.Logs(ctx, LogQuery{})
	if err != nil || r.Unsearched.IsZero() || len(r.Entries) != 0 {
		t.Errorf("%+v %v", r, err)
	}
}
