package form

import (
	"strings"

	"github.com/wardhq/ward/internal/model/lexis"
)

// Schema is f in JSON Schema (2020-12), with doc as its description unless that is "".
func Schema(f *Form, doc string) map[string]any {
	s := map[string]any{}
	switch f.Shape {
	case TextShape:
		textSchema(f, s)
	case ObjectShape:
		objectSchema(f, s)
	case NamesShape:
		s["type"] = "object"
		s["propertyNames"] = map[string]any{"pattern": f.Name}
		s["additionalProperties"] = Schema(f.Elem, "")
		if f.Min > 0 {
			s["minProperties"] = f.Min
		}
	case ListShape:
		listSchema(f, s)
	case SomeShape:
		list := map[string]any{}
		listSchema(f, list)
		s["anyOf"] = []any{Schema(f.Elem, ""), list}
	case EitherShape:
		s["anyOf"] = []any{Schema(f.Text, ""), Schema(f.Elem, "")}
	}
	if doc != "" {
		s["description"] = doc
	}
	return s
}

func textSchema(f *Form, s map[string]any) {
	var types []string
	for _, t := range []struct {
		bit  int
		name string
	}{{IsString, "string"}, {IsNumber, "number"}, {IsBool, "boolean"}} {
		if f.Types&t.bit != 0 {
			types = append(types, t.name)
		}
	}
	switch {
	case f.Number:
		s["type"], s["minimum"], s["maximum"] = "integer", f.Min, f.Max
	case len(f.Words) > 0:
		s["enum"] = f.Words
	case len(types) > 1:
		s["type"] = types
	case f.Types == IsBool:
		s["type"] = "boolean"
	case f.Types == IsNumber:
		s["type"], s["exclusiveMinimum"], s["maximum"] = "number", 0, lexis.MaxCores
	default:
		s["type"] = "string"
	}
	if f.Pattern != "" {
		s["pattern"] = f.Pattern
	}
}

func listSchema(f *Form, s map[string]any) {
	s["type"] = "array"
	s["items"] = Schema(f.Elem, "")
	if f.Min > 0 {
		s["minItems"] = f.Min
	}
	if f.Max > 0 {
		s["maxItems"] = f.Max
	}
	if f.Unique {
		s["uniqueItems"] = true
	}
}

func objectSchema(f *Form, s map[string]any) {
	props := map[string]any{}
	for _, sub := range f.Fields {
		props[sub.Name] = Schema(sub.Form, sub.Doc)
	}
	s["type"] = "object"
	s["properties"] = props
	s["additionalProperties"] = false
	if len(f.Always) > 0 {
		s["required"] = f.Always
	}
	if len(f.OneOf) > 0 {
		var some []any
		for _, k := range f.OneOf {
			some = append(some, map[string]any{"required": strings.Fields(k)})
		}
		s["oneOf"] = some
	}
}
