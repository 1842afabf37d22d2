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
	Context    contextFields `json:"context"`
	Owner      string        `json:"owner"`
	Plaintext  []byte        `json:"plaintext"`
	Ciphertext []byte        `json:"ciphertext"`
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
		got, err := readBatch(body)
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
			again = append(again, theirItem{contextFields(it.context), it.owner, it.plaintext, it.ciphertext})
		}
		if diff := cmp.Diff(want.Items, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestReadBatchTakesWhatAnEncoderMakes(t *testing.T) {
	nasty := "é\u2028 <&> \"\\/\b\f\n\r\t\x7f \U0001f600"
	in := theirBatch{Items: []theirItem{
		{contextFields{nasty, "c", nasty, "t", "", "r"}, nasty, []byte("plain"), []byte{}},
		{contextFields{Class: "c", Row: "r2"}, "", []byte{0, 255, 254}, []byte("x")},
		{Plaintext: []byte{}, Ciphertext: []byte{}},
	}}
	b, err := json.MarshalIndent(struct {
		Items []theirItem `json:"items"`
	}{in.Items}, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	got, err := readBatch(b)
	if err != nil || !got.many {
		t.Fatal(err)
	}
	for i, it := range got.items {
		if diff := cmp.Diff(in.Items[i], theirItem{contextFields(it.context), it.owner, it.plaintext, it.ciphertext}); diff != "" {
			t.Error(diff)
		}
	}
	if one, err := readBatch([]byte(`{"context":{"class":"c","table":"t"},"plaintext":""}`)); err != nil || one.many || one.items[0].plaintext == nil || one.items[0].ciphertext != nil || one.items[0].context != (envelope.Context{Class: "c", Table: "t"}) {
		t.Errorf("%+v, %v", one, err)
	}
}

func TestReadBatchRefuses(t *testing.T) {
	for name, s := range map[string]string{
		"nothing": ``, "a list": `[]`, "null": `null`, "a name twice": `{"owner":"a","owner":"b"}`, "a name twice in a context": `{"context":{"row":"1","row":"2"}}`,
		"other letters": `{"Owner":"a"}`, "null for a string": `{"owner":null}`, "null for bytes": `{"plaintext":null}`, "a number": `{"owner":1}`, "an unknown name": `{"context":{"tabel":"t"}}`,
		"invalid UTF-8": "{\"owner\":\"\xff\"}", "a raw line feed": "{\"owner\":\"\n\"}", "a bad escape": `{"owner":"\x"}`, "an open string": `{"owner":"a`, "an escaped end": `{"owner":"a\"}`,
		"a comma at the end": `{"owner":"a",}`, "a comma at the end of a list": `{"items":[{},]}`, "no colon": `{"owner""a"}`, "more behind it": `{} {}`, "list and item": `{"items":[],"owner":"a"}`,
		"lists in lists": `{"items":[[]]}`, "items in items": `{"items":[{"items":[]}]}`, "base64 of URLs": `{"plaintext":"_-__"}`, "base64 cut off": `{"plaintext":"eA="}`, "an open object": `{`, "too many": `{"items":[` + strings.Repeat("{},", maxItems) + `{}]}`,
	} {
		if got, err := readBatch([]byte(s)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
