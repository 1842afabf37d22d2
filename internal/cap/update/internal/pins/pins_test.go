package pins

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/fault"
)

var (
	oldImage, newImage   = "sha256:" + strings.Repeat("a", 64), "sha256:" + strings.Repeat("b", 64)
	oldCommit, newCommit = strings.Repeat("c", 40), strings.Repeat("d", 40)
)

func find(t testing.TB, name, content string) ([]Pin, []Problem) {
	t.Helper()
	found, problems, err := Find(t.Context(), fstest.MapFS{name: {Data: []byte(content)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return found, problems
}

// renew is a file with all its pins at new digests.
func renew(t testing.TB, name, content string) string {
	t.Helper()
	found, _ := find(t, name, content)
	var changes []Change
	for _, p := range found {
		changes = append(changes, Change{p, map[Kind]string{Image: newImage, Action: newCommit}[p.Kind]})
	}
	out, err := Apply([]byte(content), changes)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// short makes digests readable.
func short(s string) string {
	return strings.NewReplacer(oldImage, "OLD", newImage, "NEW", oldCommit, "OLD", newCommit, "NEW").Replace(s)
}

func long(file, s string) string {
	o, n := oldImage, newImage
	if strings.Contains(s, "uses: ") && !strings.Contains(s, docker) {
		o, n = oldCommit, newCommit
	}
	return strings.NewReplacer("OLD", o, "NEW", n).Replace(s)
}

func TestPinsAreFoundAndChangedAloneInTheirLines(t *testing.T) {
	flow, job := ".github/workflows/ci.yml", "jobs:\n  a:\n    steps:\n"
	for _, c := range []struct{ name, file, before, after, pins string }{
		{"a tag", "Dockerfile", "FROM node:20-alpine\n", "FROM node:20-alpine@NEW\n", "1 node:20-alpine"},
		{"an old digest", "Dockerfile", "FROM node:20@OLD AS x\n", "FROM node:20@NEW AS x\n", "1 node:20@OLD"},
		{"a digest without a tag", "Dockerfile", "FROM node@OLD\n", "FROM node@NEW\n", "1 node:@OLD"},
		{"no tag", "Dockerfile", "FROM node\n", "FROM node:latest@NEW\n", "1 node:latest"},
		{"a port", "a/x.Dockerfile", "FROM r.example:5000/a/b:1\n", "FROM r.example:5000/a/b:1@NEW\n", "1 r.example:5000/a/b:1"},
		{"a port without a tag", "Dockerfile", "FROM r.example:5000/b\n", "FROM r.example:5000/b:latest@NEW\n", "1 r.example:5000/b:latest"},
		{"a platform and odd spaces", "Containerfile", "from  --platform=$BUILDPLATFORM\tgo:1  as  b \r\nRUN x\r\n", "from  --platform=$BUILDPLATFORM\tgo:1@NEW  as  b \r\nRUN x\r\n", "1 go:1"},
		{"stages and scratch", "Dockerfile", "FROM go:1 AS Build\nFROM scratch\nFROM build AS c\nFROM c", "FROM go:1@NEW AS Build\nFROM scratch\nFROM build AS c\nFROM c", "1 go:1"},
		{"a stage named like its image", "Dockerfile", "FROM go:1 AS go\nFROM go\n", "FROM go:1@NEW AS go\nFROM go\n", "1 go:1"},
		{
			"here-documents, comments and continued lines", "Dockerfile",
			"FROM go:1\nRUN cat <<-'EOF' <<E2\nFROM x:1\n\tEOF\nFROM y:1\nE2\n# FROM z:1\nRUN a \\\n# FROM w\n\nFROM v:1\nFROM u:2\n", "FROM go:1@NEW\nRUN cat <<-'EOF' <<E2\nFROM x:1\n\tEOF\nFROM y:1\nE2\n# FROM z:1\nRUN a \\\n# FROM w\n\nFROM v:1\nFROM u:2@NEW\n", "1 go:1, 12 u:2",
		},
		{"another escape", "Dockerfile", "# escape=`\nFROM go:1\nRUN a `\nFROM x:1\nRUN c:\\\nFROM y:1\n", "# escape=`\nFROM go:1@NEW\nRUN a `\nFROM x:1\nRUN c:\\\nFROM y:1@NEW\n", "2 go:1, 6 y:1"},
		{"an argument", "Dockerfile", "ARG V=\"20\" W=1\nFROM node:${V}\n", "ARG V=\"20@NEW\" W=1\nFROM node:${V}\n", "1 node:20"},
		{"an argument that is pinned", "Dockerfile", "ARG BASE=node:20@OLD\nFROM $BASE\n", "ARG BASE=node:20@NEW\nFROM $BASE\n", "1 node:20@OLD"},
		{"a byte order mark", "Dockerfile", "\ufeffFROM go:1\n", "\ufeffFROM go:1@NEW\n", "1 go:1"},
		{"Compose", "compose.prod.yaml", "services:\n  a: {image: 'x:1', ports: [1]}\n  b:\n    image: \"y:2@OLD\" # why\r\n  c:\n    build: .\n    image: mine:1\n", "services:\n  a: {image: 'x:1@NEW', ports: [1]}\n  b:\n    image: \"y:2@NEW\" # why\r\n  c:\n    build: .\n    image: mine:1\n", "2 x:1, 4 y:2@OLD"},
		{"anchors, once", "docker-compose.yml", "x-a: &a\n  image: &i !!str x:1\nservices:\n  é: {<<: *a}\n  b:\n    <<: [*a]\n  c: {image: *i}\n", "x-a: &a\n  image: &i !!str x:1@NEW\nservices:\n  é: {<<: *a}\n  b:\n    <<: [*a]\n  c: {image: *i}\n", "2 x:1"},
		{"letters of several bytes in front", "compose.yml", "services: {é: {image: x:1}}\n", "services: {é: {image: x:1@NEW}}\n", "1 x:1"},
		{"an action", flow, job + "      - uses: a/b@v4\n", job + "      - uses: a/b@NEW # v4\n", "4 a/b:v4"},
		{"an action in quotes, with a comment", flow, job + "    - {name: x}\n    - uses: 'a/b/c@v4'  # why\r\n", job + "    - {name: x}\n    - uses: 'a/b/c@NEW' # v4  # why\r\n", "5 a/b/c:v4"},
		{"a pinned action", flow, job + "    - uses: a/b@OLD # v4.2.2\n", job + "    - uses: a/b@NEW # v4.2.2\n", "4 a/b:v4.2.2@OLD"},
		{"a pinned action with Renovate's comment", flow, job + "    - uses: a/b@OLD # tag=v4\n", job + "    - uses: a/b@NEW # tag=v4\n", "4 a/b:v4@OLD"},
		{"a pinned action with prose", flow, job + "    - uses: a/b@OLD # because of me\n", job + "    - uses: a/b@NEW # because of me\n", "4 a/b:@OLD"},
		{"a workflow of another repository", flow, "jobs:\n  a:\n    uses: o/r/.github/workflows/x.yml@main\n", "jobs:\n  a:\n    uses: o/r/.github/workflows/x.yml@NEW # main\n", "3 o/r/.github/workflows/x.yml:main"},
		{"own actions, scripts and inputs", flow, job + "    - uses: ./x\n    - run: |\n        uses: a/b@v4\n      with: {uses: a/b@v4}\n", job + "    - uses: ./x\n    - run: |\n        uses: a/b@v4\n      with: {uses: a/b@v4}\n", ""},
		{"images of a workflow", flow, "jobs:\n  a:\n    container: x:1\n    services: {db: {image: y:2}}\n    steps:\n    - uses: docker://z:3\n", "jobs:\n  a:\n    container: x:1@NEW\n    services: {db: {image: y:2@NEW}}\n    steps:\n    - uses: docker://z:3@NEW\n", "3 x:1, 4 y:2, 6 z:3"},
		{"a composite action", "a/action.yml", "runs:\n  steps:\n  - uses: a/b@v1\n", "runs:\n  steps:\n  - uses: a/b@NEW # v1\n", "3 a/b:v1"},
		{"an action that is an image", "action.yaml", "runs:\n  image: docker://x:1\n", "runs:\n  image: docker://x:1@NEW\n", "2 x:1"},
		{"an action that is a Dockerfile", "action.yml", "runs:\n  image: Dockerfile\n", "runs:\n  image: Dockerfile\n", ""},
		{"GitLab", ".gitlab-ci.yml", "image: a:1\nvariables: {image: no:1}\ndefault:\n  services: [b:1, {name: c:1}]\njob:\n  image: {name: d:1}\n  script: [x]\n", "image: a:1@NEW\nvariables: {image: no:1}\ndefault:\n  services: [b:1@NEW, {name: c:1@NEW}]\njob:\n  image: {name: d:1@NEW}\n  script: [x]\n", "1 a:1, 4 b:1, 4 c:1, 6 d:1"},
		{"other files", "k8s/pod.yaml", "image: x:1\n", "image: x:1\n", ""},
		{"others' files", "vendor/x/Dockerfile", "FROM x:1\n", "FROM x:1\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := long(c.file, c.before)
			found, problems := find(t, c.file, before)
			if len(problems) > 0 {
				t.Errorf("problems: %+v", problems)
			}
			var said []string
			for _, p := range found {
				s := fmt.Sprintf("%d %s:%s", p.Line, p.Name, p.Tag)
				if p.Digest != "" {
					s += "@" + short(p.Digest)
				}
				said = append(said, s)
			}
			if diff := cmp.Diff(c.pins, strings.Join(said, ", ")); diff != "" {
				t.Error(diff)
			}
			after := renew(t, c.file, before)
			if diff := cmp.Diff(c.after, short(after)); diff != "" {
				t.Error(diff)
			}
			if again := renew(t, c.file, after); again != after {
				t.Errorf("a second time it changes again: %q", short(again))
			}
		})
	}
}

func TestWhatCannotBePinnedIsSaid(t *testing.T) {
	flow, job := ".github/workflows/ci.yml", "jobs:\n  a:\n    steps:\n"
	for _, c := range []struct{ name, file, content, want string }{
		{"an argument without a value", "Dockerfile", "ARG V\nFROM node:$V\n", "2 which image"},
		{"an argument with a default at its use", "Dockerfile", "FROM node:${V:-20}\n", "1 a digest can't"},
		{"an argument in the middle", "Dockerfile", "ARG V=20\nFROM node:${V}-slim\n", "2 a digest can't"},
		{"an argument used twice", "Dockerfile", "ARG V=20\nFROM node:$V\nARG V\nRUN echo $V\n", "2 $V in"},
		{"an argument of an argument", "Dockerfile", "ARG V=$W\nFROM node:$V\n", "1 which image"},
		{"several lines", "Dockerfile", "FROM \\\n node:20\n", "1 a FROM of several lines"},
		{"nothing", "Dockerfile", "FROM --platform=x\n", "1 FROM names no image"},
		{"quotes", "Dockerfile", "FROM \"node:20\"\n", "1 \"\\\"node:20\\\"\" is no image"},
		{"another digest", "Dockerfile", "FROM node@sha512:12\n", "1 the digest of"},
		{"a here-document without an end", "Dockerfile", "RUN cat <<EOF\nFROM x:1\n", "1 a here-document doesn't end"},
		{"a variable", "compose.yml", "services: {a: {image: 'x:${V}'}}\n", "1 which image"},
		{"escapes", "compose.yml", "services:\n  a:\n    image: \"\\x61:1\"\n", "3 \"a:1\" is written"},
		{"a block", "compose.yml", "services:\n  a:\n    image: >-\n      x:1\n", "3 \"x:1\" is written"},
		{"no room for the comment", flow, "jobs: {a: {steps: [{uses: a/b@v1}]}}\n", "1 behind \"a/b@v1\""},
		{"no ref", flow, job + "    - uses: a/b\n", "4 \"a/b\" is no action"},
		{"an expression", flow, job + "    - uses: a/b@${{ x }}\n", "4 \"a/b@${{ x }}\" is no action"},
		{"no YAML", flow, "a: [\n", "0 can't be read as YAML"},
		{"unseen line ends", "compose.yml", "# \u2028\nservices: {a: {image: x:1}}\n", "0 holds line ends"},
		{"too large", "compose.yml", "#" + strings.Repeat(" ", maxBytes), "0 larger"},
		{"too many", "Dockerfile", strings.Repeat("FROM x:1\n", maxPins+1), "0 more than"},
		{"aliases of aliases", "compose.yml", "a: &a {<<: [" + strings.TrimSuffix(strings.Repeat("*a,", 9), ",") + "]}\nservices: {b: *a}\n", "0 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, problems := find(t, c.file, c.content)
			if len(found) != 0 || len(problems) != 1 || !strings.HasPrefix(fmt.Sprintf("%d %s", problems[0].Line, problems[0].Reason), c.want) {
				t.Errorf("found %+v, problems %+v; want %q", found, problems, c.want)
			}
		})
	}
}

func TestSkippedPlacesHaveNoPins(t *testing.T) {
	tree := fstest.MapFS{"a/b/Dockerfile": {Data: []byte("FROM x:1\n")}, "c/Dockerfile": {Data: []byte("FROM y:1\n")}}
	found, _, err := Find(t.Context(), tree, func(name string) bool { return name == "a" })
	if err != nil || len(found) != 1 || found[0].Path != "c/Dockerfile" {
		t.Errorf("found %+v, %v", found, err)
	}
}

func TestATreeHasBounds(t *testing.T) {
	tree := fstest.MapFS{}
	for i := range maxFiles + 1 {
		tree[fmt.Sprintf("%d.dockerfile", i)] = &fstest.MapFile{}
	}
	if _, _, err := Find(t.Context(), tree, nil); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("%d files: %v", len(tree), err)
	}
}

func TestApplyRefusesWhatItDidNotFind(t *testing.T) {
	content := "FROM x:1\n"
	found, _ := find(t, "Dockerfile", content)
	for name, c := range map[string]struct {
		content string
		changes []Change
		kind    fault.Kind
	}{
		"another file":          {"FROM y:1\n", []Change{{found[0], newImage}}, fault.Conflict},
		"a shorter file":        {"", []Change{{found[0], newImage}}, fault.Conflict},
		"the same pin twice":    {content, []Change{{found[0], newImage}, {found[0], newImage}}, fault.Conflict},
		"a pin of nobody":       {content, []Change{{Pin{Kind: Image}, newImage}}, fault.Conflict},
		"a commit for an image": {content, []Change{{found[0], newCommit}}, fault.Invalid},
		"a second instruction":  {content, []Change{{found[0], newImage + "\nRUN evil"}}, fault.Invalid},
		"a line end":            {content, []Change{{found[0], newImage + "\n"}}, fault.Invalid},
	} {
		if out, err := Apply([]byte(c.content), c.changes); fault.KindOf(err) != c.kind {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

// FuzzPins checks that what isn't a pin stays: without the digests and what stands around them, the file is as before.
func FuzzPins(f *testing.F) {
	names := []string{"Dockerfile", "compose.yml", ".github/workflows/x.yml", "action.yml", ".gitlab-ci.yml"}
	f.Add(uint8(0), "ARG V=1@"+oldImage+"\nFROM a:$V\r\nRUN <<E\nE\nFROM --platform=x c AS d\n")
	f.Add(uint8(1), "services:\n  a: &a {image: 'x:1'}\n  b: *a\n  c: {<<: [*a]}\n")
	f.Add(uint8(2), "jobs:\n  a:\n    container: é:1\n    steps:\n    - uses: \"a/b@v1\" # x\n    - uses: a/b@"+oldCommit+" # v2\n    - uses: docker://a\n")
	f.Add(uint8(3), "runs:\n  image: docker://x\n  steps:\n  - uses: a/b@v1")
	f.Add(uint8(4), "image: a:1\nservices: [b:1]\nx: {image: {name: c}}\n")
	digests := regexp.MustCompile(`(:latest)?@?(sha256:[0-9a-f]{64}|[0-9a-f]{40})`)
	f.Fuzz(func(t *testing.T, kind uint8, content string) {
		name := names[int(kind)%len(names)]
		found, _ := find(t, name, content)
		after := renew(t, name, content)
		again, _ := find(t, name, after)
		if len(again) != len(found) {
			t.Fatalf("%d pins of %d are left in %q", len(again), len(found), after)
		}
		olds, news := strings.Split(content, "\n"), strings.Split(after, "\n")
		if len(olds) != len(news) {
			t.Fatalf("lines changed: %q", after)
		}
		touched := map[int]bool{}
		for i, p := range found {
			q := again[i]
			if q.Path != p.Path || q.Line != p.Line || q.Kind != p.Kind || q.Name != p.Name || q.Tag != p.Tag || q.Digest == "" {
				t.Fatalf("%+v became %+v", p, q)
			}
			start := bytes.LastIndexByte([]byte(content[:p.at]), '\n') + 1
			touched[strings.Count(content[:start], "\n")] = true
		}
		for i := range olds {
			if !touched[i] && olds[i] != news[i] {
				t.Fatalf("line %d changed from %q to %q", i+1, olds[i], news[i])
			}
			if touched[i] && name != names[2] && name != names[3] && digests.ReplaceAllString(olds[i], "") != strings.ReplaceAll(digests.ReplaceAllString(news[i], ""), ":latest", "") && !strings.Contains(olds[i], ":latest") {
				t.Fatalf("more than a digest changed from %q to %q", olds[i], news[i])
			}
		}
	})
}
