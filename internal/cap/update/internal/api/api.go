// Package api tells what a newer version of a Go module takes away that a project uses.
//
// Two versions are compared from their source alone (golang.org/x/exp/apidiff): nothing is built, fetched or run. Types of other modules and of
// the standard library stand for themselves by name, so that a change below such a name isn't seen; nor are files for other systems than
// this one. Uses are found by name, and so rather too many than too few: a method counts as used where any of that name is called.
// What can't be compared is said, never left out. Not guaranteed: that what is compatible behaves as before.
package api

import (
	"errors"
	"fmt"
	"go/types"
	"maps"
	"slices"
	"strings"

	"golang.org/x/exp/apidiff"

	"github.com/wardhq/ward/internal/base/fault"
)

// Difference is what is incompatible between two versions.
type Difference struct {
	// All counts the incompatible changes in the packages that the project imports.
	All int `json:"all"`
	// Used are those whose names the project uses, "import/path: Name: what changed"; sorted.
	Used []string `json:"used,omitempty"`
	// Unsure are packages that couldn't be compared, with the reason; sorted.
	Unsure []string `json:"unsure,omitempty"`
}

// Compare compares the packages of a module that are used, given both versions' zips (https://go.dev/ref/mod#zip-files). The module's path is
// the same in both.
func Compare(module string, before, after []byte, used *Uses) (*Difference, error) {
	var both [2]*source
	for i, archive := range [][]byte{before, after} {
		var err error
		if both[i], err = open(module, archive); err != nil {
			return nil, err
		}
	}
	d := &Difference{}
	for _, p := range slices.Sorted(maps.Keys(used.Imports)) {
		if p != module && !strings.HasPrefix(p, module+"/") {
			continue
		}
		if err := d.compare(p, both[0], both[1], used); err != nil {
			d.Unsure = append(d.Unsure, p+": "+err.Error())
		}
	}
	return d, nil
}

// compare adds what changed in one package. The library panics on what it doesn't know: that is unsure, too.
func (d *Difference) compare(path string, before, after *source, used *Uses) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fault.New(fault.Unsupported, fmt.Sprintf("it can't be compared: %v", r))
		}
	}()
	old, err := before.Import(path)
	if errors.Is(err, errElsewhere) {
		return nil // another module's, whose path begins alike
	}
	if err != nil {
		return err
	}
	now, err := after.Import(path)
	if err != nil && !errors.Is(err, errElsewhere) {
		return err
	}
	if err != nil {
		d.All++
		d.Used = append(d.Used, path+": the package is gone")
		return nil
	}
	for _, ch := range apidiff.Changes(old, now).Changes {
		if ch.Compatible || strings.HasSuffix(ch.Message, "value changed from unknown to unknown") {
			continue
		}
		d.All++
		if used.has(old, ch.Message) {
			d.Used = append(d.Used, path+": "+ch.Message)
		}
	}
	return nil
}

// has tells whether a message of apidiff is about what is used: "Name: …", "T.Member: …", "(*T).Method: …", "Name, method set of *T: …".
func (u *Uses) has(pkg *types.Package, message string) bool {
	subject, what, _ := strings.Cut(message, ": ")
	subject, _, _ = strings.Cut(subject, ",")
	name, member, isMember := strings.Cut(strings.NewReplacer("(", "", ")", "", "*", "").Replace(subject), ".")
	name, _, _ = strings.Cut(name, "[") // type parameters
	if !isMember || what == "added" || what == "added unexported method" {
		return u.names(pkg, name) // who implements an interface names it
	}
	// A type can be used without its name, through what returns it.
	return u.Members[member[strings.LastIndex(member, ".")+1:]]
}
