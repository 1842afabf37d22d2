// Package vex reads and writes OpenVEX 0.2.0: who says that a weakness doesn't hurt a product, and why.
//
// Guarantee: a document that breaks the specification's rules is refused whole, so a statement without a reason silences nothing; no finding
// is ever dropped, it only learns why it doesn't count. Not guaranteed: that a statement is true or its author who it says: whom to believe
// is decided by who hands in the documents.
package vex

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const (
	contextURL   = "https://openvex.dev/ns/v0.2.0"
	maxDocument  = 64 << 20
	maxStatement = 100_000
)

// Status is what a statement says about a product and a vulnerability.
type Status string

// The four statuses of the specification.
const (
	NotAffected        Status = "not_affected"
	Affected           Status = "affected"
	Fixed              Status = "fixed"
	UnderInvestigation Status = "under_investigation"
)

// NotInExecutePath is the justification for what can't run; the others are read and kept as they stand.
const NotInExecutePath = "vulnerable_code_not_in_execute_path"

// Document is an OpenVEX document.
type Document struct {
	Context    string      `json:"@context"`
	ID         string      `json:"@id"`
	Author     string      `json:"author"`
	Role       string      `json:"role,omitempty"`
	Timestamp  time.Time   `json:"timestamp"`
	Updated    time.Time   `json:"last_updated,omitzero"`
	Version    int         `json:"version"`
	Tooling    string      `json:"tooling,omitempty"`
	Statements []Statement `json:"statements"`
}

// Statement is one status.
type Statement struct {
	ID              string        `json:"@id,omitempty"`
	Vulnerability   Vulnerability `json:"vulnerability"`
	Timestamp       time.Time     `json:"timestamp,omitzero"` // the document's, if zero
	Updated         time.Time     `json:"last_updated,omitzero"`
	Products        []Product     `json:"products"`
	Status          Status        `json:"status"`
	StatusNotes     string        `json:"status_notes,omitempty"`
	Justification   string        `json:"justification,omitempty"`    // one of five labels, with not_affected only
	ImpactStatement string        `json:"impact_statement,omitempty"` // for people, with not_affected only
	ActionStatement string        `json:"action_statement,omitempty"` // for people, with affected only
}

// Vulnerability names what a statement is about.
type Vulnerability struct {
	ID      string   `json:"@id,omitempty"` // an IRI
	Name    string   `json:"name"`
	Aliases []string `json:"aliases,omitempty"`
}

// Component is a product or a part of one, by an IRI or its identifiers.
type Component struct {
	ID          string            `json:"@id,omitempty"`
	Identifiers map[string]string `json:"identifiers,omitempty"` // "purl", "cpe22", "cpe23"
}

// Product is a component with the parts that a statement is about; no parts means all of it.
type Product struct {
	Component
	Subcomponents []Component `json:"subcomponents,omitempty"`
}

// Read reads a document of at most 64 MiB and checks it against the specification.
func Read(r io.Reader) (Document, error) {
	var d Document
	data, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	switch {
	case err != nil:
	case len(data) > maxDocument:
		err = fmt.Errorf("larger than %d bytes", maxDocument)
	default:
		if err = json.Unmarshal(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), &d); err == nil {
			err = d.check()
		}
	}
	if err != nil {
		return Document{}, fmt.Errorf("read OpenVEX: %w", err)
	}
	return d, nil
}

// Write writes a document that keeps the specification's rules.
func Write(w io.Writer, d Document) error {
	if err := d.check(); err != nil {
		return fmt.Errorf("write OpenVEX: %w", err)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(d); err != nil {
		return fmt.Errorf("write OpenVEX: %w", err)
	}
	return nil
}

func (d *Document) check() error {
	switch {
	case d.Context != contextURL:
		return fmt.Errorf("its @context is %.80q, not that of version 0.2.0", d.Context)
	case d.ID == "" || d.Author == "":
		return errors.New("it needs an @id and an author")
	case d.Timestamp.IsZero():
		return errors.New("it needs a timestamp: later statements win over earlier ones")
	case d.Version < 1:
		return errors.New("its version isn't a positive number")
	case len(d.Statements) > maxStatement:
		return fmt.Errorf("it has more than %d statements", maxStatement)
	}
	for i := range d.Statements {
		if err := d.Statements[i].check(); err != nil {
			return fmt.Errorf("statement %d: %w", i+1, err)
		}
	}
	return nil
}

func (s *Statement) check() error {
	if s.Vulnerability.Name == "" {
		return errors.New("it names no vulnerability")
	}
	if len(s.Products) == 0 {
		return errors.New("it names no product")
	}
	for _, p := range s.Products {
		for _, c := range append([]Component{p.Component}, p.Subcomponents...) {
			if c.ID == "" && len(c.Identifiers) == 0 {
				return errors.New("a product or part without a name")
			}
		}
	}
	if !slices.Contains([]Status{NotAffected, Affected, Fixed, UnderInvestigation}, s.Status) {
		return fmt.Errorf("%.40q isn't a status", s.Status)
	}
	if s.Status != NotAffected && s.Justification+s.ImpactStatement != "" {
		return errors.New("a justification or impact_statement belongs to not_affected only")
	}
	if s.Status == NotAffected && s.Justification == "" && strings.TrimSpace(s.ImpactStatement) == "" {
		return errors.New("not_affected needs a justification or an impact_statement")
	}
	switch s.Justification {
	case "", "component_not_present", "vulnerable_code_not_present", NotInExecutePath, "vulnerable_code_cannot_be_controlled_by_adversary",
		"inline_mitigations_already_exist":
		return nil
	}
	return fmt.Errorf("%.60q isn't a justification", s.Justification)
}
