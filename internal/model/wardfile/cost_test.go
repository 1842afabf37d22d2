package wardfile

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

func manyServices(n int) string {
	var b strings.Builder
	b.WriteString("app: big\nservices:\n")
	for i := range n {
		fmt.Fprintf(&b, "  s%d:\n    run: [./bin/s, --port, 8080]\n    listen: http://:8080\n    calls:\n      s%d: [GET /a/**, \"POST /b/{id}\"]\n", i, (i+1)%n)
	}
	return b.String()
}

func manyRules(n int) string {
	const services = 100
	var b strings.Builder
	b.WriteString("app: big\nservices:\n")
	for i := range services {
		fmt.Fprintf(&b, "  s%d:\n    run: ./bin/s\n    listen: http://:8080\n", i)
		if i == services-1 {
			break
		}
		fmt.Fprintf(&b, "    calls:\n      s%d:\n", i+1)
		for j := range n / (services - 1) {
			fmt.Fprintf(&b, "        - GET /r%d/{id}/items\n", j)
		}
	}
	return b.String()
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, src string }{
		{"services=10000", manyServices(10_000)},
		{"rules=100000", manyRules(100_000)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.src)))
			b.ReportAllocs()
			for b.Loop() {
				if _, ps := Parse("ward.yaml", strings.NewReader(c.src)); ps.HasErrors() {
					b.Fatal(ps[0].String())
				}
			}
		})
	}
}

// hostile is files of 64 KiB that cost some parser dearly.
func hostile() map[string]string {
	const size = 64 << 10
	fill := func(head, body, tail string) string {
		return head + strings.Repeat(body, (size-len(head)-len(tail))/len(body)) + tail
	}
	each := func(head string, f func(i int) string) string {
		var b strings.Builder
		b.WriteString(head)
		for i := 0; ; i++ {
			s := f(i)
			if b.Len()+len(s) > size {
				return b.String()
			}
			b.WriteString(s)
		}
	}
	numbered := func(format string) func(int) string {
		return func(i int) string { return strings.ReplaceAll(format, "#", fmt.Sprint(i)) }
	}
	const service = "app: a\nservices:\n  s:\n    run: x\n    listen: http://:1\n"
	return map[string]string{
		"open lists": fill("", "[", ""), "closed lists": strings.Repeat("[", size/2) + strings.Repeat("]", size/2),
		"open mappings": fill("", "{a: ", ""), "nested items": fill("", "- ", ""), "complex keys": fill("", "? ", ""),
		"stairs":     each("", func(i int) string { return strings.Repeat(" ", i) + "a:\n" }),
		"empty maps": fill("[", "{},", "]"), "tiny maps": fill("[", "{a: b},", "]"), "tiny items": fill("[", "a,", "]"),
		"long key": fill("", "k", ": 1"), "long explicit key": fill("? ", "k", "\n: 1"), "many keys": each("", numbered("k#:\n")),
		"block scalar": fill("a: |\n", "  x\n", ""), "blank block": fill("a: |\n", "\n", ""), "folded": fill("a: >\n", "  x\n", ""),
		"escapes": fill(`a: "`, `\n`, `"`), "unterminated": fill(`a: "`, "x", ""), "comments": fill("", "#\n", ""),
		"commented": fill("", "a: b # c\n", ""), "documents": fill("", "---\n", ""), "anchors": fill("[", "&a a,", "]"),
		"tags": fill("[", "!a a,", "]"), "nul": fill("", "\x00", ""), "tabs": fill("", "\t", ""), "colons": fill("", ": ", ""),
		"questions": fill("", "?\n", ""), "merges": fill("", "<<: a\n", ""), "dashes": fill("", "-\n", ""), "spaces": fill("", " ", ""),
		"flow keys": each("{", numbered("k#,")), "bad UTF-8": fill("", "\xff", ""), "keys in a list": fill("[", "a: ", "]"),
		"alias bomb":          "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n" + fill("d: [", "*c,", "]"),
		"misspelt keys":       each("app: a\n", numbered("servicse#: 1\n")),
		"services of nothing": each("app: a\nservices: {", numbered("s#: ,")) + "}",
		"empty services":      each("app: a\nservices: {", numbered("s#: {},")) + "}",
		"misspelt targets":    each(service+"    calls:\n", numbered("      tt#: tcp\n")),
		"long misspelt names": each(service+"    calls:\n", func(i int) string { return fmt.Sprintf("      %050d: tcp\n", i) }) + "",
		"services and misspelt targets": each(each(service, func(i int) string {
			if i > 1500 {
				return strings.Repeat("x", size)
			}
			return fmt.Sprintf("  %s%d: {run: x}\n", strings.Repeat("s", 12), i)
		})+"  z:\n    run: x\n    calls:\n", func(i int) string { return fmt.Sprintf("      %s%d: any\n", strings.Repeat("s", 13), i) }),
		"ports":        each(service[:len(service)-20]+"    listen: [", numbered("tcp://:#,")) + "]",
		"equal grants": fill(service+"    calls: {s: [", "any,", "]}"),
		"bad grants":   fill(service+"    calls: {s: [", "GTE /x,", "]}"),
		"deep path":    fill(service+"    calls: {s: GET ", "/a", "}"),
		"routes":       each(service+"    expose: {to: anyone, routes: [", numbered("GET /#,")) + "]}",
		"cycle": each("app: a\nservices:\n", func(i int) string {
			return fmt.Sprintf(" s%d: {run: x, listen: tcp://:1, calls: {s%d: tcp}}\n", i, i+1)
		}),
		"data":        each(service+"    data: [", numbered("a#,")) + "]",
		"shell words": fill("app: a\nservices: {s: {run: '", "a ", "'}}"),
	}
}

// The bound for a hostile file is 100 ms and 64 MiB; a test machine that does
// three other things at once gets more time, never more memory.
func TestHostileFilesAreCheap(t *testing.T) {
	for name, src := range hostile() {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, problems := Parse("ward.yaml", strings.NewReader(src))
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			_ = problems.String()
			mib := (after.TotalAlloc - before.TotalAlloc) >> 20
			t.Logf("%d bytes: %v, %d MiB in all, %d problems", len(src), took, mib, len(problems))
			if took > time.Second || mib > 64 {
				t.Errorf("%v and %d MiB in all for %d bytes", took, mib, len(src))
			}
		})
	}
}

// The same files through the formatter, which also finds the place of everything.
func TestHostileFilesFormatInTime(t *testing.T) {
	for name, src := range hostile() {
		start := time.Now()
		_, err := Format([]byte(src))
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("%s: %v (%v)", name, took, err)
		} else {
			t.Logf("%s: %v (%v)", name, took, err)
		}
	}
}
