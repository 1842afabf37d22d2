// Package sarif writes findings as SARIF 2.1.0 (OASIS, "Static Analysis Results Interchange Format"), and takes in what any other analyser
// writes in it.
//
// Guarantee: what Write makes is valid by the standard's schema; a result that Read can't place or rate is a finding all the same, of the
// whole file or of unknown severity. Not guaranteed: that others' paths are of this tree.
package sarif

// The parts of the standard's object model that are written or read (§3).
type (
	log struct {
		Schema  string `json:"$schema,omitempty"`
		Version string `json:"version"`
		Runs    []run  `json:"runs"`
	}
	run struct {
		Tool        tool                        `json:"tool"`
		Results     []result                    `json:"results"`
		Bases       map[string]artifactLocation `json:"originalUriBaseIds,omitempty"`
		Artifacts   []artifact                  `json:"artifacts,omitempty"`
		ColumnKind  string                      `json:"columnKind,omitempty"`
		Invocations []invocation                `json:"invocations,omitempty"`
	}
	invocation struct {
		Successful bool `json:"executionSuccessful"`
	}
	tool struct {
		Driver     component   `json:"driver"`
		Extensions []component `json:"extensions,omitempty"`
	}
	component struct {
		Name           string `json:"name"`
		Version        string `json:"version,omitempty"`
		InformationURI string `json:"informationUri,omitempty"`
		Rules          []rule `json:"rules,omitempty"`
	}
	rule struct {
		ID         string         `json:"id"`
		Short      *message       `json:"shortDescription,omitempty"`
		Full       *message       `json:"fullDescription,omitempty"`
		Help       *message       `json:"help,omitempty"`
		HelpURI    string         `json:"helpUri,omitempty"`
		Default    *configuration `json:"defaultConfiguration,omitempty"`
		Properties map[string]any `json:"properties,omitempty"`
	}
	configuration struct {
		Level string `json:"level,omitempty"`
	}
	message struct {
		Text     string `json:"text,omitempty"`
		Markdown string `json:"markdown,omitempty"`
		ID       string `json:"id,omitempty"`
	}
	result struct {
		RuleID       string            `json:"ruleId,omitempty"`
		RuleIndex    *int              `json:"ruleIndex,omitempty"`
		Rule         *reference        `json:"rule,omitempty"`
		Kind         string            `json:"kind,omitempty"`
		Level        string            `json:"level,omitempty"`
		Message      message           `json:"message"`
		Locations    []location        `json:"locations,omitempty"`
		Prints       map[string]string `json:"partialFingerprints,omitempty"`
		Suppressions []suppression     `json:"suppressions,omitempty"`
		Baseline     string            `json:"baselineState,omitempty"`
		Properties   map[string]any    `json:"properties,omitempty"`
	}
	reference struct {
		ID        string        `json:"id,omitempty"`
		Index     *int          `json:"index,omitempty"`
		Component *componentRef `json:"toolComponent,omitempty"`
	}
	componentRef struct {
		Index *int `json:"index,omitempty"`
	}
	location struct {
		Physical *physical `json:"physicalLocation,omitempty"`
	}
	physical struct {
		Artifact artifactLocation `json:"artifactLocation"`
		Region   *region          `json:"region,omitempty"`
	}
	artifact struct {
		Location artifactLocation `json:"location"`
	}
	artifactLocation struct {
		URI   string `json:"uri,omitempty"`
		Base  string `json:"uriBaseId,omitempty"`
		Index *int   `json:"index,omitempty"`
	}
	region struct {
		StartLine   int `json:"startLine,omitempty"`
		StartColumn int `json:"startColumn,omitempty"`
	}
	suppression struct {
		Kind          string `json:"kind"`
		Status        string `json:"status,omitempty"`
		Justification string `json:"justification,omitempty"`
	}
)

const (
	version = "2.1.0"
	schema  = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
	// root is the base of every path that Write names: the root of the scan (§3.14.14).
	root = "SRCROOT"
)
