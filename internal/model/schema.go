package model

import (
	"encoding/json"
	"strings"

	"github.com/wardhq/ward/internal/model/lexis"
)

// Schema is the JSON Schema (2020-12) of ward.yaml, for editors. It is made from
// the parser's own table of words: what Parse accepts, it accepts; what it refuses,
// Parse refuses. What lies between parts of a file (names that must exist,
// grants that must fit) only Parse knows.
func Schema() []byte {
	s := schemaOf(vocabulary(), "")
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["$id"] = "https://wardhq.dev/schema/ward-v1.json"
	s["title"] = "ward.yaml, version 1"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // maps, lists and texts only
	}
	return append(b, '\n')
}

func schemaOf(f *form, doc string) map[string]any {
	s := map[string]any{}
	switch f.shape {
	case shapeText:
		textSchema(f, s)
	case shapeObject:
		objectSchema(f, s)
	case shapeNames:
		s["type"] = "object"
		s["propertyNames"] = map[string]any{"pattern": f.name}
		s["additionalProperties"] = schemaOf(f.elem, "")
		if f.min > 0 {
			s["minProperties"] = f.min
		}
	case shapeList:
		listSchema(f, s)
	case shapeSome:
		list := map[string]any{}
		listSchema(f, list)
		s["anyOf"] = []any{schemaOf(f.elem, ""), list}
	case shapeEither:
		s["anyOf"] = []any{schemaOf(f.text, ""), schemaOf(f.elem, "")}
	}
	if doc != "" {
		s["description"] = doc
	}
	return s
}

func textSchema(f *form, s map[string]any) {
	var types []string
	for _, t := range []struct {
		bit  int
		name string
	}{{typeString, "string"}, {typeNumber, "number"}, {typeBool, "boolean"}} {
		if f.types&t.bit != 0 {
			types = append(types, t.name)
		}
	}
	switch {
	case f.number:
		s["type"], s["minimum"], s["maximum"] = "integer", f.min, f.max
	case len(f.words) > 0:
		s["enum"] = f.words
	case len(types) > 1:
		s["type"] = types
	case f.types == typeNumber:
		s["type"], s["exclusiveMinimum"], s["maximum"] = "number", 0, lexis.MaxCores
	default:
		s["type"] = "string"
	}
	if f.pattern != "" {
		s["pattern"] = f.pattern
	}
}

func listSchema(f *form, s map[string]any) {
	s["type"] = "array"
	s["items"] = schemaOf(f.elem, "")
	if f.min > 0 {
		s["minItems"] = f.min
	}
	if f.max > 0 {
		s["maxItems"] = f.max
	}
	if f.unique {
		s["uniqueItems"] = true
	}
}

func objectSchema(f *form, s map[string]any) {
	props := map[string]any{}
	for _, sub := range f.fields {
		props[sub.name] = schemaOf(sub.form, sub.doc)
	}
	s["type"] = "object"
	s["properties"] = props
	s["additionalProperties"] = false
	if len(f.always) > 0 {
		s["required"] = f.always
	}
	if len(f.oneOf) > 0 {
		var some []any
		for _, k := range f.oneOf {
			some = append(some, map[string]any{"required": strings.Fields(k)})
		}
		s["oneOf"] = some
	}
}
