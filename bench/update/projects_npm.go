package main

// node is an application of npm: its dependencies, and a test in test.js.
func node(dependencies, test string) map[string]string {
	return map[string]string{
		"package.json": `{
  "name": "application",
  "version": "1.0.0",
  "private": true,
  "scripts": { "test": "node test.js" },
  "dependencies": { ` + dependencies + ` }
}
`,
		"test.js":    "'use strict';\nconst assert = require('assert');\n" + test,
		".gitignore": "node_modules\n",
	}
}

func npmProjects() []project {
	return []project{
		{
			name: "npm-patches", why: "three direct parts, each mended by a patch; ws needn't change",
			files: node(`"lodash": "4.17.11", "minimist": "1.2.0", "semver": "5.7.1", "ws": "7.4.6"`, `
const _ = require('lodash'), minimist = require('minimist'), semver = require('semver');
require('ws');
assert.deepStrictEqual(_.merge({a: 1}, {b: 2}), {a: 1, b: 2});
assert.strictEqual(minimist(['--x', '3']).x, 3);
assert.ok(semver.satisfies('1.2.3', '^1.0.0'));
`),
			change: []map[string]string{{
				"lodash": "4.17.11→4.17.21 raise", "minimist": "1.2.0→1.2.6 raise", "semver": "5.7.1→5.7.2 raise",
			}},
		},
		{
			name: "npm-express", why: "express asks for exact versions of its weak parts: raised to the first one whose parts are all mended, and nothing is overridden",
			files: node(`"express": "4.17.1"`, `
const express = require('express'), http = require('http');
const app = express();
app.get('/hello/:name', (q, a) => a.json({hello: q.params.name, q: q.query.a.b}));
const s = app.listen(0, '127.0.0.1', () => http.get({port: s.address().port, host: '127.0.0.1', path: '/hello/you?a[b]=c'}, (r) => {
  let text = '';
  r.on('data', (d) => { text += d; }).on('end', () => { s.close(); assert.deepStrictEqual(JSON.parse(text), {hello: 'you', q: 'c'}); });
}));
`),
			change: []map[string]string{{"express": "4.17.1→4.21.2 raise"}},
		},
		{
			name: "npm-major", why: "only a major version mends, and the program bears it",
			files: node(`"jsonwebtoken": "8.5.1"`, `
const jwt = require('jsonwebtoken');
const token = jwt.sign({sub: 'you'}, 'a-secret', {algorithm: 'HS256'});
assert.strictEqual(jwt.verify(token, 'a-secret', {algorithms: ['HS256']}).sub, 'you');
`),
			pin:    map[string]any{"semver": "5.7.2"},
			change: []map[string]string{{"jsonwebtoken": "8.5.1→9.0.0 raise"}},
		},
		{
			name: "npm-broken", why: "the same major version, but the program takes unsigned tokens, which it refuses: held back; json5 is proposed",
			files: node(`"jsonwebtoken": "8.5.1", "json5": "2.2.1"`, `
const jwt = require('jsonwebtoken'), JSON5 = require('json5');
assert.strictEqual(JSON5.parse('{a: 1}').a, 1);
const token = jwt.sign({sub: 'you'}, '', {algorithm: 'none'});
assert.strictEqual(jwt.verify(token, '').sub, 'you');
`),
			pin:    map[string]any{"semver": "5.7.2"},
			change: []map[string]string{{"json5": "2.2.1→2.2.2 raise"}},
			held:   map[string]string{"jsonwebtoken": "tests that passed before fail"},
		},
		{
			name: "npm-lock", why: "a transitive part, within what its parent asks for: the lock file alone",
			files: node(`"mkdirp": "0.5.5"`, `
const mkdirp = require('mkdirp'), os = require('os'), path = require('path'), fs = require('fs');
const at = path.join(os.tmpdir(), 'a', 'b');
mkdirp.sync(at);
assert.ok(fs.statSync(at).isDirectory());
`),
			pin:    map[string]any{"minimist": "1.2.5"},
			change: []map[string]string{{"minimist": "1.2.5→1.2.6 lock"}},
			touch:  map[string]string{"minimist": "package-lock.json"},
		},
		{
			name: "npm-two", why: "a transitive part beside a sound, newer one of the same name, which stays",
			files: node(`"glob": "7.1.1", "minimatch": "5.1.0"`, `
const glob = require('glob'), minimatch = require('minimatch');
assert.deepStrictEqual(glob.sync('test.*'), ['test.js']);
assert.ok(minimatch('a.js', '*.js'));
assert.strictEqual(require('minimatch/package.json').version, '5.1.0');
`),
			pin:    map[string]any{"glob": map[string]string{"minimatch": "3.0.4"}},
			change: []map[string]string{{"minimatch": "3.0.4→3.0.5 lock"}},
			touch:  map[string]string{"minimatch": "package-lock.json"},
		},
		{
			name: "npm-override", why: "the last release of the parent asks for a weak range: an override",
			files: node(`"optimist": "0.6.1"`, `
const argv = require('optimist')(['--x', '3']).argv;
assert.strictEqual(argv.x, 3);
`),
			change: []map[string]string{{"minimist": "0.0.10→0.2.4 override"}},
			touch:  map[string]string{"minimist": "package-lock.json package.json"},
		},
		{
			name: "npm-scripts", why: "the version that mends brings an install script: said, and not run",
			files: node(`"es5-ext": "0.10.53"`, `
assert.strictEqual(require('es5-ext/string/#/contains').call('raz', 'a'), true);
`),
			change: []map[string]string{{"es5-ext": "0.10.53→0.10.63 raise"}},
			notice: "Install scripts: es5-ext",
		},
		{
			name: "npm-risks", why: "patches, a minor one and what only a leap would mend: proposals by risk; the transitive part in the lock file alone",
			files: node(`"axios": "0.21.0", "json5": "2.2.1", "ws": "7.4.5", "tough-cookie": "4.0.0"`, `
const axios = require('axios'), JSON5 = require('json5'), WebSocket = require('ws'), tough = require('tough-cookie');
assert.strictEqual(typeof axios.get, 'function');
assert.strictEqual(JSON5.parse('{a: 1}').a, 1);
assert.strictEqual(typeof WebSocket.Server, 'function');
assert.strictEqual(tough.Cookie.parse('a=b').value, 'b');
`),
			pin: map[string]any{"follow-redirects": "1.14.4"},
			change: []map[string]string{
				{"axios": "0.21.0→0.21.2 raise", "json5": "2.2.1→2.2.2 raise", "ws": "7.4.5→7.4.6 raise"},
				{"follow-redirects": "1.14.4→1.15.6 lock", "tough-cookie": "4.0.0→4.1.3 raise"},
			},
			held: map[string]string{"axios": "no version of the same major clears the rest"},
		},
	}
}
