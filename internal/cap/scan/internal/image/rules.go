package image

import (
	"regexp"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/finding"
)

// Findings judges the image's own configuration.
func (img *Image) Findings() []finding.Finding {
	var out []finding.Finding
	add := func(f finding.Finding) {
		f.Kind, f.Tool, f.Location.Path = finding.Config, "ward", img.Ref
		out = append(out, f)
	}
	if user, _, _ := strings.Cut(img.Config.User, ":"); user == "" || user == "0" || user == "root" {
		add(finding.Finding{
			ID: "image-user-root", Title: "The image runs as root", Severity: finding.Medium, URL: "https://docs.docker.com/reference/dockerfile/#user",
			Detail: "Whoever breaks the program is root in its container, and one hole of the kernel away from the host.",
			Fix:    "End the Dockerfile with USER and a number that isn't 0.",
		})
	}
	const why = "Whoever can pull the image can read it, and deleting it in a later layer doesn't help."
	for _, e := range img.Config.Env {
		if name, value, _ := strings.Cut(e, "="); value != "" && secretName(name) {
			add(finding.Finding{
				ID: "image-secret-env", Title: "The image holds a secret in its environment: " + name, Severity: finding.High, Detail: why,
				URL: "https://docs.docker.com/build/building/secrets/", Fix: "Replace this secret, and give it to the service when it starts.",
			})
		}
	}
	var seen []string
	for _, line := range img.Config.History {
		for _, name := range assigned(line) {
			if secretName(name) && !slices.Contains(seen, name) {
				seen = append(seen, name)
				add(finding.Finding{
					ID: "image-secret-history", Title: "The image's history holds a secret: " + name, Severity: finding.High, Detail: why,
					URL: "https://docs.docker.com/build/building/secrets/", Fix: "Replace this secret, and mount it while building (RUN --mount=type=secret).",
				})
			}
		}
	}
	if !img.pinned {
		add(finding.Finding{
			ID: "image-no-digest", Title: "The image is named by a tag, which can be moved", Severity: finding.Low,
			URL:    "https://docs.docker.com/reference/cli/docker/image/pull/#pull-an-image-by-digest-immutable-identifier",
			Detail: "What runs tomorrow need not be what was looked at today.", Fix: "Name it by digest: @" + img.Digest + ".",
		})
	}
	return out
}

// secretName tells whether a variable's name says that its value is a secret; those that end so name a file or a limit.
func secretName(name string) bool {
	name = strings.ToUpper(strings.TrimLeft(name, "-"))
	for _, end := range []string{"_FILE", "_PATH", "_URL", "_NAME", "_LENGTH", "_TTL", "_ID", "_DIR", "_KEY_SHA256"} {
		if strings.HasSuffix(name, end) {
			return false
		}
	}
	name = strings.ReplaceAll(name, "-", "_")
	for _, word := range []string{"PASSWORD", "PASSWD", "SECRET", "TOKEN", "APIKEY", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY", "CREDENTIALS"} {
		if strings.HasSuffix(name, word) {
			return true
		}
	}
	return false
}

// assigned are the names before "=" in a line of history that are given a value; a shell variable is none.
func assigned(line string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`([A-Za-z][\w-]*)=(["']?)([^\s"'$]+)`).FindAllStringSubmatch(line, 1000) {
		out = append(out, m[1])
	}
	return out
}
