//go:build race

package flag

// workDays is a shorter month: the race detector makes each day ten times as long, and finds nothing more in the last ones.
const workDays = 12
