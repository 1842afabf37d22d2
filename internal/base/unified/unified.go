// Package unified writes the difference of two texts as people and patch(1) read it.
//
// Guarantee: applying the result to the old text gives the new one. Not guaranteed: that it is
// the shortest for texts that differ in thousands of lines.
package unified

import (
	"fmt"
	"strings"
)

// around is how many unchanged lines stand before and after a change.
const around = 3

// maxCells bounds the table of the longest common subsequence.
const maxCells = 4 << 20

// edit is one line of the script: ' ' kept, '-' taken away, '+' added.
type edit struct {
	op   byte
	line string
}

// Diff returns the unified diff from one text to another, under their names; "" if they are equal.
func Diff(oldName, newName, before, after string) string {
	if before == after {
		return ""
	}
	script := compare(split(before), split(after))
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", oldName, newName)
	oldLine, newLine := 1, 1
	for i := 0; i < len(script); {
		if script[i].op == ' ' {
			i, oldLine, newLine = i+1, oldLine+1, newLine+1
			continue
		}
		start := max(i-around, 0)
		end := hunkEnd(script, i)
		hunk(&out, script[start:end], oldLine-(i-start), newLine-(i-start))
		for ; i < end; i++ {
			if script[i].op != '+' {
				oldLine++
			}
			if script[i].op != '-' {
				newLine++
			}
		}
	}
	return out.String()
}

// hunkEnd is behind the last change from i on that is near enough to share a hunk, and the lines around it.
func hunkEnd(script []edit, i int) int {
	last := i
	for ; i < len(script) && i-last <= 2*around; i++ {
		if script[i].op != ' ' {
			last = i
		}
	}
	return min(last+1+around, len(script))
}

func hunk(out *strings.Builder, script []edit, oldLine, newLine int) {
	olds, news := 0, 0
	for _, e := range script {
		if e.op != '+' {
			olds++
		}
		if e.op != '-' {
			news++
		}
	}
	if olds == 0 {
		oldLine-- // an empty range is named by the line before it
	}
	if news == 0 {
		newLine--
	}
	fmt.Fprintf(out, "@@ -%d,%d +%d,%d @@\n", oldLine, olds, newLine, news)
	for _, e := range script {
		out.WriteByte(e.op)
		out.WriteString(e.line)
		if !strings.HasSuffix(e.line, "\n") {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
}

// split keeps the ends of lines; the last may have none.
func split(s string) []string {
	lines := strings.SplitAfter(s, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

func compare(a, b []string) []edit {
	var script []edit
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		script = append(script, edit{' ', a[head]})
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	script = append(script, middle(a[head:len(a)-tail], b[head:len(b)-tail])...)
	for _, line := range a[len(a)-tail:] {
		script = append(script, edit{' ', line})
	}
	return script
}

// middle walks the table of longest common subsequences; beyond maxCells it replaces all.
func middle(a, b []string) []edit {
	var script []edit
	i, j := 0, 0
	if (len(a)+1)*(len(b)+1) <= maxCells {
		width := len(b) + 1
		table := make([]int32, (len(a)+1)*width)
		for i := len(a) - 1; i >= 0; i-- {
			for j := len(b) - 1; j >= 0; j-- {
				if a[i] == b[j] {
					table[i*width+j] = table[(i+1)*width+j+1] + 1
				} else {
					table[i*width+j] = max(table[(i+1)*width+j], table[i*width+j+1])
				}
			}
		}
		for i < len(a) && j < len(b) {
			switch {
			case a[i] == b[j]:
				script = append(script, edit{' ', a[i]})
				i, j = i+1, j+1
			case table[(i+1)*width+j] >= table[i*width+j+1]:
				script = append(script, edit{'-', a[i]})
				i++
			default:
				script = append(script, edit{'+', b[j]})
				j++
			}
		}
	}
	for ; i < len(a); i++ {
		script = append(script, edit{'-', a[i]})
	}
	for ; j < len(b); j++ {
		script = append(script, edit{'+', b[j]})
	}
	return script
}
