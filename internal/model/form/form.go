// Package form describes what may stand in a YAML file as a table of forms, and does what follows from
// the table alone: the JSON Schema and the canonical layout. It knows no word of ward.yaml.
//
// It guarantees that Layout keeps every value, comment and spelling that matters, or fails.
package form

// Shape is what a value looks like.
type Shape uint8

// The shapes.
const (
	TextShape   Shape = iota // a scalar
	ObjectShape              // a mapping with known keys
	NamesShape               // a mapping from names to Elem
	ListShape                // a list of Elem
	SomeShape                // one Elem, or a list of them
	EitherShape              // a scalar (Text), or something else (Elem)
)

// The types of scalars, as YAML and JSON tell them apart.
const (
	IsString = 1 << iota
	IsNumber
	IsBool
)

// Form is what a value may be.
type Form struct {
	Shape   Shape
	What    string // in messages: "expected <what>"
	Fields  []Field
	Elem    *Form
	Text    *Form    // of EitherShape
	Name    string   // of NamesShape: pattern of a name
	Types   int      // of TextShape; 0 is IsString
	Words   []string // of TextShape: the only words, if any
	Pattern string   // of TextShape: necessary, as an ECMA 262 and RE2 expression
	Min     int      // least items, entries, or (whole numbers) value
	Max     int      // most, 0 for no bound
	Unique  bool     // of ListShape and SomeShape
	Number  bool     // of TextShape: a whole number from Min to Max
	OneOf   []string // of ObjectShape: exactly one of these keys
	Always  []string // of ObjectShape: required keys
	Inline  bool     // of ObjectShape: written in one line where it is short
}

// Field is one key of an object.
type Field struct {
	Name string
	Doc  string // for editors
	Form *Form
}

// Field is the form of a key, nil for one that isn't known.
func (f *Form) Field(name string) *Form {
	for i := range f.Fields {
		if f.Fields[i].Name == name {
			return f.Fields[i].Form
		}
	}
	return nil
}

// Keys are the known keys, in their order.
func (f *Form) Keys() []string {
	out := make([]string, len(f.Fields))
	for i := range f.Fields {
		out[i] = f.Fields[i].Name
	}
	return out
}

// Key is one key of an object: its name, a sentence for editors, and what its value may be.
func Key(name, doc string, f *Form) Field { return Field{Name: name, Doc: doc, Form: f} }
