package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/sdk/seal/envelope"
)

// theirItem and theirBatch are what readBatch reads, for encoding/json.
type theirItem struct {
	Context contextFields `json:"context"`
	Owner   string        `json:"owner"`
	Data    []byte        `json:"plaintext"`
}

type theirBatch struct {
	theirItem
	Items []theirItem `json:"items"`
}

func FuzzReadBatch(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"items":[]}`, `{"context":{"class":"c","table":"t"},"owner":"ann","plaintext":"eA=="}`, ` { "items" : [ {"context":{"row":"\u00e9\n\"\\"}} , {} ] } `,
		`{"ciphertext":""}`, `{"plaintext":"e\u0041=="}`, `{"owner":"\ud800"}`, `{"owner":"\"}`, `{"owner":"a","owner":"b"}`, `{"Owner":"a"}`, `{"owner":null}`, "{\"owner\":\"\xff\"}", `{"items":[{"context":{"class":"c"}},{"context":{}}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := readBatch(body, "plaintext")
		if err != nil {
			return
		}
		var want theirBatch
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(&want); err != nil {
			t.Fatalf("taken, but encoding/json says %v", err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			t.Fatal("taken with something behind it")
		}
		if !got.many {
			want.Items = []theirItem{want.theirItem}
		}
		again := []theirItem{}
		for _, it := range got.items {
			again = append(again, theirItem{contextFields(it.Context), it.Owner, it.Data})
		}
		if diff := cmp.Diff(want.Items, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestReadBatchTakesWhatAnEncoderMakes(t *testing.T) {
	nasty := "é\u2028 <&> \"\\/\b\f\n\r\t\x7f \U0001f600"
	in := theirBatch{Items: []theirItem{
		{contextFields{nasty, "c", nasty, "t", "", "r"}, nasty, []byte("plain")},
		{contextFields{Class: "c", Row: "r2"}, "", []byte{0, 255, 254}},
		{Data: []byte{}},
	}}
	b, err := json.MarshalIndent(struct {
		Items []theirItem `json:"items"`
	}{in.Items}, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	got, err := readBatch(b, "plaintext")
	if err != nil || !got.many {
		t.Fatal(err)
	}
	for i, it := range got.items {
		if diff := cmp.Diff(in.Items[i], theirItem{contextFields(it.Context), it.Owner, it.Data}); diff != "" {
			t.Error(diff)
		}
	}
	want := []Item{{Context: envelope.Context{Class: "c", Table: "t"}, Data: []byte{}}}
	one, err := readBatch([]byte(`{"context":{"class":"c","table":"t"},"plaintext":""}`), "plaintext")
	if diff := cmp.Diff(want, one.items); diff != "" || one.many || err != nil {
		t.Errorf("%s, %v", diff, err)
	}
}

func TestReadBatchRefuses(t *testing.T) {
	const p = `"plaintext":""`
	if _, err := readBatch([]byte(`{`+p+`,"owner":"a"}`), "plaintext"); err != nil {
		t.Fatal(err) // each of the following is this with one fault
	}
	for name, s := range map[string]string{
		"nothing":                       ``,
		"a list":                        `[]`,
		"null":                          `null`,
		"no data":                       `{"owner":"a"}`,
		"other data":                    `{` + p + `,"ciphertext":""}`,
		"a name twice":                  `{` + p + `,"owner":"a","owner":"b"}`,
		"a name twice in a context":     `{` + p + `,"context":{"row":"1","row":"2"}}`,
		"other letters":                 `{` + p + `,"Owner":"a"}`,
		"null for a string":             `{` + p + `,"owner":null}`,
		"null for bytes":                `{"plaintext":null}`,
		"a number":                      `{` + p + `,"owner":1}`,
		"an unknown name":               `{` + p + `,"context":{"tabel":"t"}}`,
		"invalid UTF-8":                 `{` + p + `,"owner":"` + "\xff" + `"}`,
		"a raw line feed":               `{` + p + `,"owner":"` + "\n" + `"}`,
		"a bad escape":                  `{` + p + `,"owner":"\x"}`,
		"an open string":                `{` + p + `,"owner":"a`,
		"an escaped end":                `{` + p + `,"owner":"a\"}`,
		"an open object":                `{` + p,
		"a comma at the end":            `{` + p + `,}`,
		"a comma at the end of a list":  `{"items":[{` + p + `},]}`,
		"no colon":                      `{` + p + `,"owner""a"}`,
		"more behind it":                `{` + p + `} {}`,
		"a list beside an owner":        `{"items":[{` + p + `}],"owner":"a"}`,
		"a list beside an item":         `{"items":[{` + p + `}],` + p + `}`,
		"an item of a list, no data":    `{"items":[{` + p + `},{}]}`,
		"an item of a list, other data": `{"items":[{"ciphertext":""}]}`,
		"lists in lists":                `{"items":[[]]}`,
		"items in items":                `{"items":[{` + p + `,"items":[]}]}`,
		"base64 of URLs":                `{"plaintext":"_-__"}`,
		"base64 cut off":                `{"plaintext":"eA="}`,
		"too many":                      `{"items":[` + strings.Repeat("{"+p+"},", maxItems) + `{` + p + `}]}`,
	} {
		if got, err := readBatch([]byte(s), "plaintext"); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
