package logs

import (
	"strings"
	"testing"
)

func TestLevelsAreRecognised(t *testing.T) {
	for text, want := range map[string]Level{
		`{"level":"error","msg":"x"}`:                               Error,
		`{"msg":"level","a":{"level":"error"},"level":"info"}`:      Info,
		`{"msg":"\"level\":\"error\"","severity":"WARNING"}`:        Warn,
		`  {"a":[{"level":"fatal"},"level",1], "lvl" : 50}`:         Error,
		`{"time":1.5,"level":30,"msg":"pino"}`:                      Info,
		`{"level":"error"`:                                          Error,
		`{"msg":"no end, \"level\":\"error\"`:                       Unknown,
		`{"error":"level"}`:                                         Unknown,
		`[1,2,{"level":"error"}]`:                                   Unknown,
		`time=1 level=warn msg="level=error"`:                       Warn,
		`msg=x level="error"`:                                       Error,
		`sealevel=error`:                                            Unknown,
		`2026-11-22 12:00:00,123 ERROR [main] boom`:                 Error,
		`2026/11/22 12:00:00 [warn] 12#0: slow`:                     Warn,
		"\x1b[31mERROR\x1b[0m boom":                                 Error,
		`E1122 12:00:00.000000 1 x.go:1] klog`:                      Error,
		`I1122 12:00:00.000000 1 x.go:1] klog with ERROR`:           Info,
		`panic: runtime error`:                                      Fatal,
		`Error: cannot find module`:                                 Error,
		`Traceback (most recent call last):`:                        Error,
		`INFO:root:ready`:                                           Info,
		`there was an error in it`:                                  Unknown,
		`GET /warn/10 200`:                                          Unknown,
		``:                                                          Unknown,
		strings.Repeat("x ", 200) + "ERROR":                         Unknown,
		`DEBUG x`:                                                   Debug,
		"<warning> x":                                               Warn,
		`{"level":{"a":"error"},"severity":"error"}`:                Error,
		`{"level":null,"lvl":"error"}`:                              Error,
		`{"level":"a very long word that is no level and goes on"}`: Unknown,
		`web | FATAL: password authentication failed for user "x"`:  Fatal,
		`gap`:             Unknown,
		`{"level":"gap"}`: Unknown,
	} {
		if got := recognise(text); got != want {
			t.Errorf("%.60q is %v, want %v", text, got, want)
		}
	}
}

func TestTracesAreRecognised(t *testing.T) {
	for text, want := range map[string]string{
		`{"trace_id":"` + traceID + `"}`:                             traceID,
		`{"a":{"trace_id":"` + traceID + `"}}`:                       "",
		`{"traceparent":"00-` + traceID + `-00f067aa0ba902b7-01"}`:   traceID,
		`{"traceId":"` + strings.ToUpper(traceID) + `","x":1}`:       traceID,
		`msg=x trace_id=` + traceID + ` y=1`:                         traceID,
		`msg=x traceparent="00-` + traceID + `-00f067aa0ba902b7-01"`: traceID,
		`trace_id=` + strings.Repeat("0", 32):                        "",
		`trace_id=` + traceID[1:]:                                    "",
		traceID:                                                      "",
	} {
		if got := traceOf(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func FuzzRecognise(f *testing.F) {
	for _, s := range []string{`{"level":"error","a":[{}]}`, `a level="x`, "\x1b[31mERROR", `{"a\`, "\x1b[", `{"a":"b"}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if l := recognise(s); l >= Gap {
			t.Errorf("%q is %v", s, l)
		}
		if id := traceOf(s); id != "" && len(id) != 32 {
			t.Errorf("%q: %q", s, id)
		}
	})
}

func FuzzUnmarshalText(f *testing.F) {
	f.Add([]byte("error"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var l Level
		if l.UnmarshalText(b) == nil && l.String() != string(b) {
			t.Errorf("%q became %v", b, l)
		}
	})
}
