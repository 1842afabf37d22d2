package wardfile

import (
	"encoding/json"

	"github.com/wardhq/ward/internal/model/form"
	"github.com/wardhq/ward/internal/model/vocabulary"
)

// Schema is the JSON Schema (2020-12) of ward.yaml, for editors. It is made from
// the parser's own table of Words: what Parse accepts, it accepts; what it refuses,
// Parse refuses. What lies between parts of a file (names that must exist,
// grants that must fit) only Parse knows.
func Schema() []byte {
	s := form.Schema(vocabulary.File(), "")
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["$id"] = "https://wardhq.dev/schema/ward-v1.json"
	s["title"] = "ward.yaml, version 1"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // maps, lists and texts only
	}
	return append(b, '\n')
}

// Format is the canonical form of a ward.yaml: keys in the order of the vocabulary, services in the order of the
// file, short lists inline, no needless quotes, comments where they stood. The result parses to the same Model, and Format of it is the
// same. A text that is no YAML, or has a key twice, is an error; unknown words are not.
func Format(src []byte) ([]byte, error) { return form.Layout(vocabulary.File(), src) }
