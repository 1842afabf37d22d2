package trial

import (
	"archive/tar"
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// TestComposerTriesWithinWhatIsAskedFor: with the real composer, and a repository on loopback.
func TestComposerTriesWithinWhatIsAskedFor(t *testing.T) {
	t.Parallel() // most of it waits for processes
	need.Program(t, "composer")
	files := map[string][]byte{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ran" {
			t.Error("code of a part or of the project ran while the repository was in reach")
		}
		b, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(b)
	}))
	t.Cleanup(s.Close)
	var list []string
	for _, v := range []struct{ version, code string }{{"1.0.0", "return 1;"}, {"1.0.1", "return 1;"}, {"1.0.2", "return 2;"}, {"2.0.0", "return 1;"}} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		code := "<?php function one() { " + v.code + " }"
		if err := w.WriteHeader(&tar.Header{Name: "part/part.php", Mode: 0o644, Size: int64(len(code))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(code)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		sum := sha1.Sum(b.Bytes()) // the only one that Composer checks
		files["/d/"+v.version+".tar"] = b.Bytes()
		list = append(list, fmt.Sprintf(`{"name":"own/part","version":"v%s","version_normalized":"%s.0","time":"2026-01-01T00:00:00+00:00","type":"library","autoload":{"files":["part.php"]},`+
			`"notification-url":"https://packagist.org/downloads/","dist":{"type":"tar","url":"%s/d/%s.tar","reference":"r%s","shasum":%q}}`, v.version, v.version, s.URL, v.version, v.version, hex.EncodeToString(sum[:])))
	}
	files["/packages.json"] = []byte(`{"packages":[],"metadata-url":"` + s.URL + `/p2/%package%.json"}`)
	files["/p2/own/part.json"] = []byte(`{"packages":{"own/part":[` + strings.Join(list, ",") + `]}}`)
	call := "@php -r \"file_get_contents('" + s.URL + "/ran');\""
	manifest := fmt.Sprintf(`{"name":"own/app","require":{"own/part":"^1.0"},"scripts":{"test":"@php test.php","pre-update-cmd":%[1]q,"post-update-cmd":%[1]q,"pre-install-cmd":%[1]q,"pre-command-run":%[1]q,"init":%[1]q},"config":{"allow-plugins":true}}`, call)
	hash := "0123456789abcdef0123456789abcdef"
	repo, commit := repository(t, map[string]string{
		// What Composer would load of a part that the repository brings along as installed.
		"vendor/composer/installed.json": `{"packages":[{"name":"own/plug","version":"1.0.0","version_normalized":"1.0.0.0","type":"composer-plugin","require":{"composer-plugin-api":"^2.0"},` +
			`"extra":{"class":"Plug"},"autoload":{"classmap":["Plug.php"]},"installation-source":"dist","dist":{"type":"tar","url":"https://example.com/x.tar"},"install-path":"../own/plug"}],"dev":true,"dev-package-names":[]}`,
		"vendor/own/plug/Plug.php": "<?php file_get_contents('" + s.URL + "/ran'); class Plug implements Composer\\Plugin\\PluginInterface { function activate($a, $b) {} function deactivate($a, $b) {} function uninstall($a, $b) {} }",
		"composer.json":            manifest, "test.php": "<?php require 'vendor/autoload.php'; exit(one() === 1 ? 0 : 1);",
		"composer.lock": `{"content-hash":"` + hash + `","packages":[` + list[0] + `],"packages-dev":[],"aliases":[],"minimum-stability":"stable","stability-flags":[],"prefer-stable":false,"prefer-lowest":false,"platform":[],"platform-dev":[]}`,
	})
	e, err := registry.ReadComposerEnv(t.Context())
	if err != nil {
		need.Missing(t, err.Error())
	}
	e.Index = s.URL
	all, err := registry.NewPackagist(e, nil).Releases(t.Context(), "own/part", "1.0.1")
	if err != nil || len(all) != 3 || all[2].Version != "v2.0.0" {
		t.Fatal(all, err)
	}
	c := Config{Repo: repo, Commit: commit, Dir: ".", Ecosystem: choose.Packagist, Composer: e, Scratch: t.TempDir(), Sandbox: newBox(t), Progress: func(s string) { t.Log(s) }}
	tr := begin(t, c)
	for to, passes := range map[string]bool{"v1.0.1": true, "v1.0.2": false, "v2.0.0": false} {
		out, err := tr.Try(t.Context(), []choose.Change{{Ecosystem: choose.Packagist, Name: "own/part", From: "v1.0.0", To: to, How: choose.Lock}})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(out.Passed) == 1; got != passes || passes && (len(out.Files) != 1 || !strings.Contains(string(out.Files["composer.lock"]), `"version": "`+to+`"`)) || out.Tests != 1 {
			t.Errorf("%s: %+v", to, out)
		}
	}
	write(t, repo, map[string]string{"composer.json": `{"repositories":[{"type":"composer","url":"https://corp.example"}]}`})
	gitIn(t, repo, "commit", "-q", "-a", "-m", "a repository of its own")
	c.Commit, c.Scratch = strings.TrimSpace(gitIn(t, repo, "rev-parse", "HEAD")), t.TempDir()
	if _, err := Begin(t.Context(), c); err == nil || !strings.Contains(err.Error(), "repositories of its own") {
		t.Error(err)
	}
}
