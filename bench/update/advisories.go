package main

import "time"

// advisory is one published hole in one package: versions introduced, fixed, introduced … in turn.
type advisory struct {
	id, ecosystem, name string
	turns               []string
}

// osv is its form for Ward (https://ossf.github.io/osv-schema/).
func (a advisory) osv() map[string]any {
	events := []map[string]string{}
	for i, v := range a.turns {
		events = append(events, map[string]string{[]string{"introduced", "fixed"}[i%2]: v})
	}
	return map[string]any{
		"schema_version": "1.6.0", "id": a.id, "summary": "A hole in " + a.name, "modified": time.Now().UTC().Format(time.RFC3339), "published": "2024-01-01T00:00:00Z",
		"affected": []any{map[string]any{
			"package": map[string]string{"ecosystem": a.ecosystem, "name": a.name},
			"ranges":  []any{map[string]any{"type": "SEMVER", "events": events}},
		}},
	}
}

// advisories are those of golang/vulndb (CC-BY 4.0) for Go, and of GitHub's database (CC-BY 4.0) for npm, as far as they are known here: packages and
// versions alone. WARD-BENCH ones are invented.
func advisories() []advisory {
	var out []advisory
	for _, a := range goAdvisories() {
		a.ecosystem = "Go"
		out = append(out, a)
	}
	for _, a := range npmAdvisories() {
		a.ecosystem = "npm"
		out = append(out, a)
	}
	return out
}

func goAdvisories() []advisory {
	return []advisory{
		{id: "WARD-BENCH-1", name: "github.com/klauspost/compress", turns: []string{"0", "1.14.1"}}, // 1.14.1 to 1.14.3 were retracted
		{id: "GO-2020-0001", name: "github.com/gin-gonic/gin", turns: []string{"0", "1.6.0"}},
		{id: "GO-2020-0012", name: "golang.org/x/crypto", turns: []string{"0", "0.0.0-20200220183623-bac4c82f6975"}},
		{id: "GO-2020-0013", name: "golang.org/x/crypto", turns: []string{"0", "0.0.0-20170330155735-e4e2799dd7aa"}},
		{id: "GO-2020-0014", name: "golang.org/x/net", turns: []string{"0", "0.0.0-20190125091013-d26f9f9a57f3"}},
		{id: "GO-2020-0015", name: "golang.org/x/text", turns: []string{"0", "0.3.3"}},
		{id: "GO-2020-0016", name: "github.com/ulikunitz/xz", turns: []string{"0", "0.5.8"}},
		{id: "GO-2020-0017", name: "github.com/dgrijalva/jwt-go", turns: []string{"0.0.0-20150717181359-44718f8a89b0"}},
		{id: "GO-2020-0019", name: "github.com/gorilla/websocket", turns: []string{"0", "1.4.1"}},
		{id: "GO-2020-0036", name: "gopkg.in/yaml.v2", turns: []string{"0", "2.2.8"}},
		{id: "GO-2021-0052", name: "github.com/gin-gonic/gin", turns: []string{"0", "1.7.7"}},
		{id: "GO-2021-0054", name: "github.com/tidwall/gjson", turns: []string{"0", "1.6.6"}},
		{id: "GO-2021-0057", name: "github.com/buger/jsonparser", turns: []string{"0", "1.1.1"}},
		{id: "GO-2021-0059", name: "github.com/tidwall/gjson", turns: []string{"0", "1.6.4"}},
		{id: "GO-2021-0061", name: "gopkg.in/yaml.v2", turns: []string{"0", "2.2.3"}},
		{id: "GO-2021-0078", name: "golang.org/x/net", turns: []string{"0", "0.0.0-20180816102801-aaf60122140d"}},
		{id: "GO-2021-0089", name: "github.com/buger/jsonparser", turns: []string{"0", "1.0.0"}},
		{id: "GO-2021-0113", name: "golang.org/x/text", turns: []string{"0", "0.3.7"}},
		{id: "GO-2021-0227", name: "golang.org/x/crypto", turns: []string{"0", "0.0.0-20201216223049-8b5274cf687f"}},
		{id: "GO-2021-0238", name: "golang.org/x/net", turns: []string{"0", "0.0.0-20210520170846-37e1c6afe023"}},
		{id: "GO-2021-0265", name: "github.com/tidwall/gjson", turns: []string{"0", "1.9.3"}},
		{id: "GO-2021-0356", name: "golang.org/x/crypto", turns: []string{"0", "0.0.0-20220314234659-1baeb1ce4c0b"}},
		{id: "GO-2022-0192", name: "golang.org/x/net", turns: []string{"0", "0.0.0-20180925071336-cf3bd585ca2a"}},
		{id: "GO-2022-0193", name: "golang.org/x/net", turns: []string{"0", "0.0.0-20180921000356-2f5d2388922f"}},
		{id: "GO-2022-0197", name: "golang.org/x/net", turns: []string{"0", "0.0.0-20190125002852-4b62a64f59f7"}},
		{id: "GO-2022-0209", name: "golang.org/x/crypto", turns: []string{"0", "0.0.0-20190320223903-b7391e95e576"}},
		{id: "GO-2022-0229", name: "golang.org/x/crypto", turns: []string{"0", "0.0.0-20200124225646-8b5121be2f68"}},
		{id: "GO-2022-0236", name: "golang.org/x/net", turns: []string{"0", "0.0.0-20210428140749-89ef3d95e781"}},
		{id: "GO-2022-0288", name: "golang.org/x/net", turns: []string{"0", "0.0.0-20211209124913-491a49abca63"}},
		{id: "GO-2022-0493", name: "golang.org/x/sys", turns: []string{"0", "0.0.0-20220412211240-33da011f77ad"}},
		{id: "GO-2022-0536", name: "golang.org/x/net", turns: []string{"0", "0.0.0-20190813141303-74dc4d7220e7"}},
		{id: "GO-2022-0588", name: "github.com/microcosm-cc/bluemonday", turns: []string{"0", "1.0.16"}},
		{id: "GO-2022-0603", name: "gopkg.in/yaml.v3", turns: []string{"0", "3.0.0-20220521103104-8f96da9f5d5e"}},
		{id: "GO-2022-0762", name: "github.com/microcosm-cc/bluemonday", turns: []string{"0", "1.0.5"}},
		{id: "GO-2022-0956", name: "gopkg.in/yaml.v2", turns: []string{"0", "2.2.4"}},
		{id: "GO-2022-0957", name: "github.com/tidwall/gjson", turns: []string{"0", "1.6.5"}},
		{id: "GO-2022-0968", name: "golang.org/x/crypto", turns: []string{"0", "0.0.0-20211202192323-5770296d904e"}},
		{id: "GO-2022-0969", name: "golang.org/x/net", turns: []string{"0", "0.0.0-20220906165146-f3363e06e74c"}},
		{id: "GO-2022-1059", name: "golang.org/x/text", turns: []string{"0", "0.3.8"}},
		{id: "GO-2022-1144", name: "golang.org/x/net", turns: []string{"0", "0.4.0"}},
		{id: "GO-2023-1495", name: "golang.org/x/net", turns: []string{"0.0.0-20220524220425-1d687d428aca", "0.1.1-0.20221104162952-702349b0e862"}},
		{id: "GO-2023-1571", name: "golang.org/x/net", turns: []string{"0", "0.7.0"}},
		{id: "GO-2023-1631", name: "google.golang.org/protobuf", turns: []string{"1.29.0", "1.29.1"}},
		{id: "GO-2023-1737", name: "github.com/gin-gonic/gin", turns: []string{"1.3.1-0.20190301021747-ccb9e902956d", "1.9.1"}},
		{id: "GO-2023-1988", name: "golang.org/x/net", turns: []string{"0", "0.13.0"}},
		{id: "GO-2023-1992", name: "golang.org/x/crypto", turns: []string{"0", "0.0.0-20190424203555-c05e17bb3b2d"}},
		{id: "GO-2023-2102", name: "golang.org/x/net", turns: []string{"0", "0.17.0"}},
		{id: "GO-2023-2402", name: "golang.org/x/crypto", turns: []string{"0", "0.17.0"}},
		{id: "GO-2024-2611", name: "google.golang.org/protobuf", turns: []string{"0", "1.33.0"}},
		{id: "GO-2024-2687", name: "golang.org/x/net", turns: []string{"0", "0.23.0"}},
		{id: "GO-2024-2961", name: "golang.org/x/crypto", turns: []string{"0", "0.0.0-20220525230936-793ad666bf5e"}},
		{id: "GO-2024-3250", name: "github.com/golang-jwt/jwt/v4", turns: []string{"0", "4.5.1"}},
		{id: "GO-2024-3321", name: "golang.org/x/crypto", turns: []string{"0", "0.31.0"}},
		{id: "GO-2024-3333", name: "golang.org/x/net", turns: []string{"0", "0.33.0"}},
		{id: "GO-2025-3487", name: "golang.org/x/crypto", turns: []string{"0", "0.35.0"}},
		{id: "GO-2025-3503", name: "golang.org/x/net", turns: []string{"0", "0.36.0"}},
		{id: "GO-2025-3553", name: "github.com/golang-jwt/jwt/v4", turns: []string{"0", "4.5.2"}},
		{id: "GO-2025-3595", name: "golang.org/x/net", turns: []string{"0", "0.38.0"}},
		{id: "GO-2025-3922", name: "github.com/ulikunitz/xz", turns: []string{"0", "0.5.15"}},
		{id: "GO-2025-4116", name: "golang.org/x/crypto", turns: []string{"0", "0.43.0"}},
		{id: "GO-2025-4134", name: "golang.org/x/crypto", turns: []string{"0", "0.45.0"}},
		{id: "GO-2025-4135", name: "golang.org/x/crypto", turns: []string{"0", "0.45.0"}},
		{id: "GO-2026-4440", name: "golang.org/x/net", turns: []string{"0", "0.45.0"}},
		{id: "GO-2026-4441", name: "golang.org/x/net", turns: []string{"0", "0.45.0"}},
		{id: "GO-2026-4514", name: "github.com/buger/jsonparser", turns: []string{"0", "1.1.2"}},
		{id: "GO-2026-4559", name: "golang.org/x/net", turns: []string{"0.50.0", "0.51.0"}},
		{id: "GO-2026-4918", name: "golang.org/x/net", turns: []string{"0", "0.53.0"}},
		{id: "GO-2026-5005", name: "golang.org/x/crypto", turns: []string{"0", "0.52.0"}},
		{id: "GO-2026-5006", name: "golang.org/x/crypto", turns: []string{"0", "0.52.0"}},
		{id: "GO-2026-5013", name: "golang.org/x/crypto", turns: []string{"0", "0.52.0"}},
		{id: "GO-2026-5014", name: "golang.org/x/crypto", turns: []string{"0", "0.52.0"}},
		{id: "GO-2026-5015", name: "golang.org/x/crypto", turns: []string{"0", "0.52.0"}},
		{id: "GO-2026-5016", name: "golang.org/x/crypto", turns: []string{"0", "0.52.0"}},
		{id: "GO-2026-5017", name: "golang.org/x/crypto", turns: []string{"0", "0.52.0"}},
		{id: "GO-2026-5018", name: "golang.org/x/crypto", turns: []string{"0", "0.52.0"}},
		{id: "GO-2026-5019", name: "golang.org/x/crypto", turns: []string{"0", "0.52.0"}},
		{id: "GO-2026-5020", name: "golang.org/x/crypto", turns: []string{"0", "0.52.0"}},
		{id: "GO-2026-5021", name: "golang.org/x/crypto", turns: []string{"0", "0.52.0"}},
		{id: "GO-2026-5023", name: "golang.org/x/crypto", turns: []string{"0", "0.52.0"}},
		{id: "GO-2026-5024", name: "golang.org/x/sys", turns: []string{"0", "0.44.0"}},
		{id: "GO-2026-5025", name: "golang.org/x/net", turns: []string{"0", "0.55.0"}},
		{id: "GO-2026-5026", name: "golang.org/x/net", turns: []string{"0", "0.55.0"}},
		{id: "GO-2026-5027", name: "golang.org/x/net", turns: []string{"0", "0.55.0"}},
		{id: "GO-2026-5028", name: "golang.org/x/net", turns: []string{"0", "0.55.0"}},
		{id: "GO-2026-5029", name: "golang.org/x/net", turns: []string{"0", "0.55.0"}},
		{id: "GO-2026-5030", name: "golang.org/x/net", turns: []string{"0", "0.55.0"}},
		{id: "GO-2026-5033", name: "golang.org/x/crypto", turns: []string{"0", "0.52.0"}},
		{id: "GO-2026-5932", name: "golang.org/x/crypto", turns: []string{"0"}},
		{id: "GO-2026-5942", name: "golang.org/x/net", turns: []string{"0", "0.56.0"}},
		{id: "GO-2026-5970", name: "golang.org/x/text", turns: []string{"0", "0.39.0"}},
	}
}

func npmAdvisories() []advisory {
	return []advisory{
		{id: "GHSA-jf85-cpcp-j695", name: "lodash", turns: []string{"0", "4.17.12"}},
		{id: "GHSA-p6mc-m468-83gw", name: "lodash", turns: []string{"3.7.0", "4.17.19"}},
		{id: "GHSA-35jh-r3h4-6jhm", name: "lodash", turns: []string{"0", "4.17.21"}},
		{id: "GHSA-29mw-wpgm-hmr9", name: "lodash", turns: []string{"4.0.0", "4.17.21"}},
		{id: "GHSA-vh95-rmgr-6w4m", name: "minimist", turns: []string{"0", "0.2.1", "1.0.0", "1.2.3"}},
		{id: "GHSA-xvch-5gv4-984h", name: "minimist", turns: []string{"0", "0.2.4", "1.0.0", "1.2.6"}},
		{id: "GHSA-c2qf-rxjj-qqgw", name: "semver", turns: []string{"0", "5.7.2", "6.0.0", "6.3.1", "7.0.0", "7.5.2"}},
		{id: "GHSA-rv95-896h-c2vc", name: "express", turns: []string{"0", "4.19.2"}},
		{id: "GHSA-qw6h-vgh9-j6wx", name: "express", turns: []string{"0", "4.20.0"}},
		{id: "GHSA-hrpp-h998-j3pp", name: "qs", turns: []string{"0", "6.2.4", "6.3.0", "6.3.3", "6.4.0", "6.4.1", "6.5.0", "6.5.3", "6.6.0", "6.6.1", "6.7.0", "6.7.3", "6.8.0", "6.8.3", "6.9.0", "6.9.7", "6.10.0", "6.10.3"}},
		{id: "GHSA-9wv6-86v2-598j", name: "path-to-regexp", turns: []string{"0", "0.1.10", "0.2.0", "1.9.0", "2.0.0", "3.3.0", "4.0.0", "6.3.0"}},
		{id: "GHSA-rhx6-c78j-4q9w", name: "path-to-regexp", turns: []string{"0", "0.1.12"}},
		{id: "GHSA-pxg6-pf52-xh8x", name: "cookie", turns: []string{"0", "0.7.0"}},
		{id: "GHSA-qwcr-r2fm-qrc7", name: "body-parser", turns: []string{"0", "1.20.3"}},
		{id: "GHSA-m6fv-jmcg-4jfg", name: "send", turns: []string{"0", "0.19.0"}},
		{id: "GHSA-cm22-4g7w-348p", name: "serve-static", turns: []string{"0", "1.16.0"}},
		{id: "GHSA-8cf7-32gw-wr33", name: "jsonwebtoken", turns: []string{"0", "9.0.0"}},
		{id: "GHSA-hjrf-2m68-5959", name: "jsonwebtoken", turns: []string{"0", "9.0.0"}},
		{id: "GHSA-qwph-4952-7xr6", name: "jsonwebtoken", turns: []string{"0", "9.0.0"}},
		{id: "GHSA-4gmj-3p3h-gm8h", name: "es5-ext", turns: []string{"0.10.0", "0.10.63"}},
		{id: "GHSA-4w2v-q235-vp99", name: "axios", turns: []string{"0", "0.21.1"}},
		{id: "GHSA-cph5-m8f7-6c5x", name: "axios", turns: []string{"0", "0.21.2"}},
		{id: "GHSA-wf5p-g6vw-rhxx", name: "axios", turns: []string{"0.8.1", "0.28.0", "1.0.0", "1.6.0"}},
		{id: "GHSA-74fj-2j2h-c42q", name: "follow-redirects", turns: []string{"0", "1.14.7"}},
		{id: "GHSA-cxjh-pqwp-8mfp", name: "follow-redirects", turns: []string{"0", "1.15.6"}},
		{id: "GHSA-9c47-m6qq-7p4h", name: "json5", turns: []string{"0", "1.0.2", "2.0.0", "2.2.2"}},
		{id: "GHSA-6fc8-4gx4-v693", name: "ws", turns: []string{"5.0.0", "5.2.3", "6.0.0", "6.2.2", "7.0.0", "7.4.6"}},
		{id: "GHSA-72xf-g2v4-qvf3", name: "tough-cookie", turns: []string{"0", "4.1.3"}},
		{id: "GHSA-f8q6-p94x-37v3", name: "minimatch", turns: []string{"0", "3.0.5"}},
	}
}
