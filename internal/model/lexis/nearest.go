package lexis

import "strings"

// Nearest is the word of known that s most likely meant, or "": the one with the
// least edit distance, if that is small for the length of s.
func Nearest(s string, known []string) string {
	if len(s) == 0 || len(s) > 64 {
		return ""
	}
	s = strings.ToLower(s)
	best, most := "", 1+len(s)/4
	for _, k := range known {
		d := len(k) - len(s)
		if d > most || -d > most || len(k) > 64 {
			continue
		}
		if n := distance(s, strings.ToLower(k), most); n <= most && (best == "" || n < most) {
			best, most = k, n
		}
	}
	if most >= len(s) {
		return ""
	}
	return best
}

// distance is the optimal string alignment distance (insertions, deletions,
// replacements, swaps of neighbours) of two strings of at most 64 bytes, or
// something above most.
func distance(a, b string, most int) int {
	var rows [3][65]int
	prev2, prev, cur := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, prev2[j-2]+1)
			}
			cur[j] = d
			least = min(least, d)
		}
		if least > most {
			return most + 1
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
