//go:build !race

package flag

// workDays are those of a month.
const workDays = 22
