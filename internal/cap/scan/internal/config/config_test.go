package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const badPod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n    - name: web\n      securityContext:\n        privileged: true\n"

func TestFilesAreRecognisedByNameOrContent(t *testing.T) {
	docker, workflow := "FROM a\n", "on: push\njobs: {}\n"
	tree := fstest.MapFS{}
	yes := map[string]string{
		"Dockerfile": docker, "a/b/dockerfile": docker, "Dockerfile.prod": docker, "prod.Dockerfile": docker, "Containerfile": docker, "x.containerfile": docker,
		"compose.yaml": "services: {}\n", "compose.prod.yml": "services: {}\n", "docker-compose-ci.yml": "services: {}\n",
		"k8s/any.yaml": badPod, "pod.json": `{"apiVersion":"v1","kind":"Pod"}`,
		".github/workflows/ci.yml": workflow, "sub/.github/workflows/ci.yaml": workflow, "action.yml": "runs: {steps: []}\n", ".gitlab-ci.yml": "a: {script: [b]}\n",
	}
	no := map[string]string{
		"Dockerfile.md": "# docs", "README": badPod, "values.yaml": "a: b\n", "composer.yaml": "a: b\n", "Dockerfiles": docker, "Dockerfile.dockerignore": "x", "dockerfile.go": "package a", "dockerfile.yaml": "a: b",
		"node_modules/a/Dockerfile": docker, ".git/Dockerfile": docker, "skipped/Dockerfile": docker, "data.json": `{"kind":1}`,
	}
	want := make([]string, 0, len(yes))
	for p, text := range yes {
		tree[p] = &fstest.MapFile{Data: []byte(text)}
		want = append(want, p)
	}
	for p, text := range no {
		tree[p] = &fstest.MapFile{Data: []byte(text)}
	}
	slices.Sort(want)
	res, err := Find(context.Background(), tree, Options{Skip: func(dir string) bool { return dir == "skipped" }})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, res.Files); d != "" {
		t.Error(d)
	}
	if len(res.Problems) > 0 {
		t.Error(res.Problems)
	}
}

func TestWhatCannotBeCheckedIsAProblem(t *testing.T) {
	for _, tt := range []struct{ name, file, text, want string }{
		{"a template", "templates/pod.yaml", "apiVersion: v1\nkind: Pod\n{{- if .x }}\nspec: {}\n", "after it was rendered"},
		{"a file that's too large", "Dockerfile", "FROM a\n" + strings.Repeat("#", maxFile), "larger than 4 MiB"},
		{"a manifest that's too large", "x.json", `{"apiVersion": "v1", "kind": "Pod", "a": "` + strings.Repeat("a", maxFile), "larger than 4 MiB"},
		{"a list of specifications", "pod.yaml", "apiVersion: v1\nkind: Pod\nspec:\n- containers: []\n", "isn't a mapping"},
		{"no Dockerfile", "Dockerfile", "hello\n", "no FROM"},
		{"an unknown instruction", "Dockerfile", "FROM a\nRUNN x\n", "no instruction is called RUNN"},
		{"a setting given twice", "pod.yaml", strings.Replace(badPod, "privileged: true", "privileged: false\n        privileged: true", 1), "privileged is set twice"},
		{"not UTF-8", "compose.yaml", "services: {a: {image: \"\xff\"}}", "read YAML"},
		{"services of another shape", "compose.yaml", "services: {a: b}", "isn't a mapping"},
		{"a whole of another shape", ".gitlab-ci.yml", "[a]", "a mapping is wanted"},
		{"too many commands", "Dockerfile", "FROM a\nRUN " + strings.Repeat("a;", maxCommands+1), "the others weren't checked"},
		{"lists too deep", "x.yaml", strings.Repeat("{apiVersion: v1, kind: List, items: [", 6) + strings.Repeat("]}", 6), "lists in lists"},
		{"an include that's missing", ".gitlab-ci.yml", "include: /ci/x.yml\n", "the included file /ci/x.yml"},
		{"an include with a variable", ".gitlab-ci.yml", "include: $X.yml\n", "isn't a plain path"},
		{"an include that leads out", ".gitlab-ci.yml", "include: ../../etc/passwd\n", "isn't a plain path"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := find1(t, tt.file, tt.text)
			if len(res.Problems) == 0 || !strings.Contains(fmt.Sprint(res.Problems), tt.want) || res.Problems[0].Path != tt.file {
				t.Errorf("problems %v, want %q", res.Problems, tt.want)
			}
		})
	}
}

func TestALargeFileThatIsNoManifestIsNone(t *testing.T) {
	if res := find1(t, "data.json", `["`+strings.Repeat("a", maxFile)); len(res.Problems) > 0 {
		t.Error(res.Problems)
	}
}

func TestARuleThatFailsIsAProblemAndTheOthersStillJudge(t *testing.T) {
	env, err := language()
	if err != nil {
		t.Fatal(err)
	}
	broken := &rule{ID: "broken", Severity: "low", Scope: "container", When: "container.nothing.here == 1"}
	costly := &rule{ID: "costly", Severity: "low", Scope: "object", When: strings.Repeat("[1,2,3,4,5,6,7,8,9,0].all(a, ", 6) + "true" + strings.Repeat(")", 6)}
	sound := &rule{ID: "sound", Severity: "low", Scope: "container", When: "container.at('nothing.here') == null"}
	for _, r := range []*rule{broken, costly, sound} {
		if err := r.compile(env); err != nil {
			t.Fatal(err)
		}
	}
	v := &view{path: "x"}
	v.read(kubernetes, []byte(badPod))
	out, err := (&ruleSet{rules: []*rule{broken, costly, sound}, budget: maxFileCost}).judge(context.Background(), v)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(out.problems); len(out.problems) != 2 || !strings.Contains(got, "broken") || !strings.Contains(got, "costly") || !strings.Contains(got, "cost limit") {
		t.Error(got)
	}
	if len(out.findings) != 1 || out.findings[0].ID != "sound" {
		t.Error(out.findings)
	}
	out, err = (&ruleSet{rules: []*rule{costly, sound}, budget: 1000}).judge(context.Background(), v)
	if err != nil || len(out.findings) != 0 || !strings.Contains(fmt.Sprint(out.problems), "takes too long") {
		t.Errorf("past the file's budget: %v %v", out, err)
	}
	if err := (&rule{Severity: "low", When: "1 + 1"}).compile(env); err == nil {
		t.Error("a rule that isn't a question compiles")
	}
	if err := (&rule{Severity: "bad", When: "true"}).compile(env); err == nil {
		t.Error("a rule with no severity compiles")
	}
}

func TestLinksCountInsideTheTreeOnly(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	for _, p := range []string{filepath.Join(dir, "base"), filepath.Join(out, "secret")} {
		if err := os.WriteFile(p, []byte("FROM a\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"Dockerfile": "base", "Dockerfile.out": filepath.Join(out, "secret"), "Dockerfile.self": "Dockerfile.self", "Dockerfile.dir": "."} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	res, err := Find(context.Background(), root.FS(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"Dockerfile"}, res.Files); d != "" {
		t.Error(d)
	}
	if got := fmt.Sprint(res.Problems); len(res.Problems) != 2 || !strings.Contains(got, "Dockerfile.out") || !strings.Contains(got, "Dockerfile.self") {
		t.Error(got)
	}
}

func TestAnEndedContextEndsTheSearch(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Find(ctx, fstest.MapFS{"Dockerfile": {Data: []byte("FROM a\n")}}, Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := Find(context.Background(), os.DirFS(filepath.Join(t.TempDir(), "none")), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Each of these is small and made to cost much: time is bounded whatever a file says.
func TestHostileFilesAreBounded(t *testing.T) {
	many := func(n int, head, each, tail string) string { return head + strings.Repeat(each, n) + tail }
	for _, tt := range []struct{ name, file, text string }{
		{"many containers", "a.yaml", many(8_000, "{apiVersion: v1, kind: Pod, spec: {containers: [", "{a: b},", "]}}")},
		{"many volumes", "b.yaml", many(10_000, "{apiVersion: v1, kind: Pod, spec: {containers: [{}], volumes: [", "{emptyDir: {}},", "]}}")},
		{"many events and steps", ".github/workflows/c.yml", many(8_000, "on: [", "push,", "]\n") + many(6_000, "permissions: {}\njobs: {a: {steps: [", "{uses: actions/cache@v1},", "]}}\n")},
		{"many tags and steps", ".github/workflows/t.yml", many(1, "on: {push: {tags: {", wide(6_000), "}}}\n") + many(6_000, "permissions: {}\njobs: {a: {steps: [", "{uses: actions/cache@v1},", "]}}\n")},
		{"many expressions", ".github/workflows/d.yml", many(20_000, "on: push\npermissions: {}\njobs: {a: {steps: [{run: \"", "${{x}}", "\"}]}}\n")},
		{"many stages", "Dockerfile", many(maxInstructions-1, "", "FROM a AS b\n", "")},
		{"many lines and commands", "Dockerfile.a", "FROM a\nRUN " + many(300_000, "", "a;\\\n", "")},
		{"many brackets", "Dockerfile.b", "FROM a\nRUN " + strings.Repeat("$(", 1<<18)},
		{"nested shells", "Dockerfile.c", "FROM a\nRUN " + strings.Repeat("sh -c \"", 30_000)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			res := find1(t, tt.file, tt.text)
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			} else {
				t.Logf("%v, %d findings, problems %.200v", took, len(res.Findings), res.Problems)
			}
		})
	}
}

// wide is the inside of a map with n keys.
func wide(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: 1, ", i)
	}
	return b.String()
}

// One weakness, as attackers and tired people spell it.
func TestSpellingsDontHide(t *testing.T) {
	pod := func(s string) string { return strings.Replace(badPod, "privileged: true", s, 1) }
	step := func(run string) string {
		return "on: issues\npermissions: {}\njobs: {a: {steps: [{run: '" + run + "'}]}}\n"
	}
	for rule, files := range map[string]map[string][]string{
		"docker-curl-shell": {"Dockerfile": {
			"FROM a\nRUN curl -s x | sh", "FROM a\nRUN curl -s x \\\n  | sudo -E bash -s -- --yes", "FROM a\nRUN bash <(curl -s x)", "FROM a\nRUN sh -c \"$(wget -qO- x)\"",
			"FROM a\nRUN [\"/bin/bash\", \"-c\", \"curl x | /bin/sh\"]", "FROM a\nRUN <<E\nset -e\ncurl x | tar x | python3 -\nE", "FROM a\nRUN eval \"`curl x`\"",
			"FROM a\nRUN if true; then curl x | env A=b zsh; fi", "FROM a\nRUN --mount=type=cache,target=/x curl x | sh", "from a\nrun A=1 curl x|sh", "FROM a\nONBUILD RUN curl x | sh",
		}},
		"docker-user-root":    {"Dockerfile": {"FROM a\nUSER root", "FROM a\nUSER 0:0", "FROM a AS b\nUSER x\nFROM b\nUSER 00"}},
		"docker-user-missing": {"Dockerfile": {"FROM a AS b\nUSER x\nFROM c\nCOPY --from=b / /", "ARG X=a\nFROM $X\nONBUILD USER x"}},
		"docker-image-latest": {"Dockerfile": {"ARG T=latest\nFROM a:$T", "ARG T\nFROM a:${T:-latest}", "FROM --platform=x localhost:5000/a:latest AS b"}},
		"docker-secret":       {"Dockerfile": {"FROM a\nENV A=b AWS_SECRET_ACCESS_KEY=\"x y\"", "FROM a\nENV DB_PASSWORD hunter2", "ARG API_KEY=x\nFROM a"}},
		"k8s-privileged": {"x.yaml": {
			badPod, pod("privileged: yes"), pod("privileged: On"), pod("<<: {privileged: true}"), "x: y\n---\n" + badPod, strings.ReplaceAll(badPod, "kind: Pod", "kind: \"Pod\""),
			"apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(badPod), "\n", "\n  "),
			"apiVersion: batch/v1\nkind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {initContainers: [{name: a, securityContext: {privileged: true}}]}}}}}",
			"apiVersion: x/v1\nkind: Rollout\nspec: {template: {spec: {ephemeralContainers: [{name: a, securityContext: &s {privileged: true}}], containers: [{name: b}]}}}",
			`{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a", "securityContext": {"privileged": true}}]}}`,
		}},
		"k8s-run-as-user-0":        {"x.yaml": {pod("runAsUser: 0"), strings.Replace(badPod, "spec:\n", "spec:\n  securityContext: {runAsUser: 0}\n", 1), pod("runAsUser: 0x0")}},
		"compose-docker-socket":    {"compose.yml": {"services: {a: {volumes: [\"/run/docker.sock:/x:ro\"]}}", "services: {a: {volumes: [{type: bind, source: /var/run/docker.sock, target: /x}]}}"}},
		"compose-privileged":       {"compose.yml": {"x-b: &b {privileged: true}\nservices: {a: {<<: *b}}", "services: {a: {privileged: yes}}"}},
		"compose-secret":           {"compose.yml": {"services: {a: {environment: [\"DB_PASSWORD=x\"]}}", "services: {a: {environment: {MYSQL_ROOT_PASSWORD: x}}}"}},
		"compose-database-public":  {"compose.yml": {"services: {a: {ports: [\"5432:5432\"]}}", "services: {a: {ports: [\"0.0.0.0:6379:6379/tcp\"]}}", "services: {a: {ports: [{target: 3306, published: 3306}]}}"}},
		"actions-script-injection": {".github/workflows/a.yml": {step("echo ${{github.event.issue.title}}"), step("echo ${{ format(\"{0}\", github.head_ref) }}"), step("echo ${{ toJSON(github.event) }}"), step("x ${{ github.event.commits[0].message || 1 }}")}},
		"actions-unpinned":         {".github/workflows/a.yml": {"jobs: {a: {steps: [{uses: a/b@v1}]}}", "jobs: {a: {steps: [{uses: a/b@8f4b7f8}]}}", "jobs: {a: {steps: [{uses: \"docker://a:1\"}]}}"}, "action.yml": {"runs: {steps: [{uses: a/b@main}]}"}},
		"actions-self-hosted":      {".github/workflows/a.yml": {"on: [push, pull_request]\njobs: {a: {runs-on: self-hosted}}", "on: {pull_request: }\njobs: {a: {runs-on: {labels: [self-hosted]}}}"}},
		"actions-permissions-all":  {".github/workflows/a.yml": {"on: push\npermissions: write-all\njobs: {}"}},
		"gitlab-curl-shell":        {".gitlab-ci.yml": {"a: {script: 'curl x | sh'}", "default: {before_script: [[\"curl x | bash\"]]}", "a:\n  script:\n    - |\n      x\n      curl y | sh\n"}},
		"gitlab-include-remote":    {".gitlab-ci.yml": {"include: 'https://x/y.yml'", "include: ['https://x/y.yml']", "include: {remote: 'https://x/y.yml'}"}},
	} {
		for file, texts := range files {
			for _, text := range texts {
				if res := find1(t, file, text); len(linesOf(res, rule)) != 1 {
					t.Errorf("%s is found on lines %v of\n%s\n%v", rule, linesOf(res, rule), text, res.Problems)
				}
			}
		}
	}
}

func TestHarmlessThingsArentFound(t *testing.T) {
	for rule, files := range map[string]map[string]string{
		"docker-curl-shell":         {"Dockerfile": "FROM a\nRUN curl -o x y && sh x; echo 'curl x | sh' # | sh\nRUN curl x | tar x"},
		"docker-user-missing":       {"Dockerfile": "FROM a AS b\nUSER x\nFROM b AS c\nFROM c"},
		"docker-secret":             {"Dockerfile": "FROM a\nENV PASSWORD_FILE=/x TOKEN=$X KEY=x SECRET_NAME=x PUBLIC_KEY=x"},
		"docker-secret-arg":         {"Dockerfile": "FROM a\nARG TOKEN_URL\nARG VERSION"},
		"docker-image-no-tag":       {"Dockerfile": "ARG I=a:1\nFROM $I AS b\nFROM b\nFROM scratch\nFROM ${X}"},
		"compose-host-path":         {"compose.yml": "services: {a: {volumes: [\"./etc:/etc\", \"etc:/etc\", \"/srv/data:/data\", \"/etc\", {type: volume, source: etc, target: /etc}]}}"},
		"compose-port-public":       {"compose.yml": "services: {a: {ports: [\"127.0.0.1:80:80\", \"[::1]:80:80\"]}}"},
		"k8s-service-account-token": {"x.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\nautomountServiceAccountToken: false\n---\napiVersion: v1\nkind: Pod\nspec: {serviceAccountName: a, containers: [{}]}"},
		"actions-script-injection":  {".github/workflows/a.yml": "jobs: {a: {steps: [{env: {T: '${{ github.event.issue.title }}'}, run: 'echo ${{ github.event.issue.number }} ${{ github.sha }}'}]}}"},
	} {
		for file, text := range files {
			if res := find1(t, file, text); len(linesOf(res, rule)) != 0 || len(res.Problems) > 0 {
				t.Errorf("%s is found on lines %v of\n%s\n%v", rule, linesOf(res, rule), text, res.Problems)
			}
		}
	}
}

func TestLinesPointAtTheCauseInLongScripts(t *testing.T) {
	for file, tt := range map[string]struct {
		text, rule string
		line       int
	}{
		"Dockerfile":              {"FROM a\nRUN set -e \\\n # why\n && x \\\n && curl y | sh\n", "docker-curl-shell", 5},
		"Dockerfile.here":         {"FROM a\nRUN <<E\nx\ncurl y | sh\nE\n", "docker-curl-shell", 4},
		".gitlab-ci.yml":          {"a:\n  script:\n    - |\n      x\n      curl y | sh\n", "gitlab-curl-shell", 5},
		".github/workflows/a.yml": {"on: push\njobs:\n  a:\n    steps:\n      - run: |\n          x\n          echo ${{ github.head_ref }}\n", "actions-script-injection", 7},
		"compose.yml":             {"x: &x\n  privileged: true\nservices:\n  a: *x\n", "compose-privileged", 2},
	} {
		if res := find1(t, file, tt.text); !slices.Equal(linesOf(res, tt.rule), []int{tt.line}) {
			t.Errorf("%s: %v, want %d", file, linesOf(res, tt.rule), tt.line)
		}
	}
}

func TestIncludedPipelinesAreJudgedOnce(t *testing.T) {
	tree := fstest.MapFS{
		".gitlab-ci.yml": {Data: []byte("include: [{local: /ci/a.yml}, ci/b*.yml]\n")},
		"ci/a.yml":       {Data: []byte("include: .gitlab-ci.yml\na: {script: [curl x | sh]}\n")},
		"ci/b1.yml":      {Data: []byte("include: {local: ci/a.yml}\nb: {script: [curl x | sh]}\n")},
	}
	res, err := Find(context.Background(), tree, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{".gitlab-ci.yml", "ci/a.yml", "ci/b1.yml"}, res.Files); d != "" || len(linesOf(res, "gitlab-curl-shell")) != 2 || len(res.Problems) > 0 {
		t.Error(d, res)
	}
}
