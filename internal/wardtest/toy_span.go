package wardtest

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// sendSpan sends a span by OTLP in JSON to where the environment says, as OpenTelemetry's libraries do, below the span of who asked. Careless as it is,
// it says a card's number, and the variable API_TOKEN.
func sendSpan(w http.ResponseWriter, r *http.Request) {
	f := strings.Split(r.Header.Get("Traceparent"), "-")
	if len(f) != 4 {
		http.Error(w, "no traceparent came", http.StatusBadRequest)
		return
	}
	trace := f[1]
	if of := r.URL.Query().Get("of"); of != "" {
		trace = of
	}
	now := time.Now().UnixNano()
	body := fmt.Sprintf(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"billing"}}]},"scopeSpans":[{"spans":[
		{"traceId":"%s","spanId":"00000000000000aa","parentSpanId":"%s","name":"look up","kind":1,"startTimeUnixNano":"%d","endTimeUnixNano":"%d",
		"attributes":[{"key":"card","value":{"stringValue":"4111 1111 1111 1111"}},{"key":"config","value":{"stringValue":"token=%s"}}]}]}]}]}`, trace, f[2], now-1000, now, os.Getenv("API_TOKEN"))
	resp, err := http.Post(os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")+"/v1/traces", "application/json", strings.NewReader(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	answer(w, r, map[string]string{"otlp": resp.Status + " " + string(said)})
}
