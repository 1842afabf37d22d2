// Package exact reads JSON objects by their members' exact names, as every tool but Go's own decoder does.
//
// Guarantee: a member whose name differs in its capitals is another member; of two of the same name the last one counts, as in ECMA-404's readers in
// JavaScript and Python. Not guaranteed: that members which nobody asked for are well-formed beyond their syntax.
package exact

import (
	"encoding/json"
	"fmt"
)

// Object reads an object's members into what members points to by name. A member that isn't there, or is null, leaves its target as it was.
func Object(b []byte, members map[string]any) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	for name, into := range members {
		if raw, ok := all[name]; ok {
			if err := json.Unmarshal(raw, into); err != nil {
				return fmt.Errorf("%q: %w", name, err)
			}
		}
	}
	return nil
}
