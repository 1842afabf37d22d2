// A reader of Ward's encrypted data, written from docs/FORMAT.md alone: Node 18's own modules, none of Ward's code.
// node read.mjs vectors.json says in one line what it read, and exits with 1 on any disagreement.
import { createDecipheriv, createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";

// What isn't in order is Refused. Every other error is one of this program, and ends it.
class Refused extends Error {}

function must(ok) {
  if (!ok) throw new Refused("refused");
}

const cat = (...parts) => Buffer.concat(parts.map((p) => Buffer.from(p)));
const hmac = (key, data, hash = "sha256") => createHmac(hash, key).update(data).digest();
const hkdf = (secret, info) => Buffer.from(hkdfSync("sha256", secret, "", info, 32));

function same(a, b) {
  must(a.length === b.length && timingSafeEqual(a, b));
}

function lp(text) {
  const b = Buffer.from(text);
  must(b.length <= 1024 && !/\p{Surrogate}/u.test(text));
  return cat([b.length >> 8, b.length & 255], b);
}

function gcm(key, nonce, sealed, ad) {
  must(sealed.length >= 16);
  const d = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: 16 });
  d.setAAD(ad).setAuthTag(sealed.subarray(-16));
  const plain = d.update(sealed.subarray(0, -16));
  try {
    d.final();
  } catch {
    throw new Refused("refused");
  }
  return plain;
}

function expand512(prk, info, size) {
  let out = Buffer.alloc(0);
  let t = Buffer.alloc(0);
  for (let i = 1; out.length < size; i++) {
    t = hmac(prk, cat(t, info, [i]), "sha512");
    out = cat(out, t);
  }
  return out.subarray(0, size);
}

const fields = ["service", "class", "tenant", "table", "column", "row"];

function encode(ctx) {
  const f = fields.map((name) => ctx[name] ?? "");
  must(f[1] !== "" && f.slice(2).some((x) => x !== ""));
  return cat("ward context v1", ...f.map(lp));
}

function beginning(v, b, kind, suite, wrappedBy) {
  must(b.length >= 12);
  same(b.subarray(0, 12), cat([1, kind, suite, wrappedBy], v.keyID));
}

const dataKeys = { opened: 0, refused: 0 };

function dataKey(v, b, kind) {
  dataKeys.refused++;
  const key = unwrap(v, b, kind);
  dataKeys.refused--;
  dataKeys.opened++;
  return key;
}

function unwrap(v, b, kind) {
  must(b.length >= 104);
  must(v.name !== "");
  beginning(v, b, kind, 1, v.owner === "" ? 1 : 2);
  const ad = cat("ward data key v1", b.subarray(3, 12), lp(v.name), lp(v.owner));
  const key = gcm(hkdf(v.key, "ward seal v1 wrap"), b.subarray(12, 24), b.subarray(24, 72), ad);
  same(b.subarray(72, 104), hkdf(key, "ward seal v1 commitment"));
  return key;
}

function message(v, b) {
  must(b.length >= 132 && b.length <= 132 + 2 ** 30);
  const key = hkdf(dataKey(v, b, 1), "ward seal v1 message");
  return gcm(key, b.subarray(104, 116), b.subarray(116), cat(b.subarray(0, 104), encode(v.context)));
}

function stream(v, b) {
  must(b.length >= 176);
  const info = cat("c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM", [0], b.subarray(104, 128), b.subarray(0, 104), encode(v.context));
  const okm = expand512(hkdf(dataKey(v, b, 3), "ward seal v1 stream"), info, 76);
  same(b.subarray(128, 160), okm.subarray(44));
  const chunks = [];
  for (let i = 0, at = 160; ; i++, at += 16400) {
    const nonce = Buffer.from(okm.subarray(32, 44));
    for (let n = i, k = 11; n > 0; n = Math.floor(n / 256), k--) nonce[k] ^= n % 256;
    const chunk = gcm(okm.subarray(0, 32), nonce, b.subarray(at, at + 16400), "");
    chunks.push(chunk);
    if (chunk.length < 16384) return cat(...chunks); // it had all that was left
  }
}

function lookup(v, b) {
  must(b.length >= 44 && b.length <= 44 + 2 ** 30 && !v.context.row && v.owner === "");
  beginning(v, b, 2, 2, 0);
  const l = hkdf(v.key, "ward lookup v1 key");
  const d = createDecipheriv("aes-256-ctr", hkdf(l, "ward lookup v1 encrypt"), b.subarray(12, 28));
  const plain = cat(d.update(b.subarray(44)), d.final());
  same(b.subarray(12, 44), hmac(hkdf(l, "ward lookup v1 mac"), cat(b.subarray(0, 12), encode(v.context), plain)));
  return plain;
}

function index(v, b) {
  must(!v.context.row && v.owner === "");
  const key = hkdf(hkdf(v.key, "ward lookup v1 key"), "ward lookup v1 index");
  same(b, hmac(key, cat(encode(v.context), v.plaintext)).subarray(0, 16));
  return v.plaintext;
}

function mac(v, b) {
  must(b.length === 44 && v.owner === "");
  beginning(v, b, 4, 3, 0);
  same(b.subarray(12), hmac(hkdf(v.key, "ward mac v1"), cat(encode(v.context), v.plaintext)));
  return v.plaintext;
}

const open = { message, stream, lookup, index, mac };

// opens says whether b is in order and gives v's plaintext; another plaintext is a disagreement, not a refusal.
function opens(v, b) {
  let got;
  try {
    got = open[v.kind](v, b);
  } catch (e) {
    if (e instanceof Refused) return false;
    throw e;
  }
  if (v.valid && !got.equals(v.plaintext)) disagree(v, "another plaintext");
  return true;
}

let wrong = 0;

function disagree(v, what) {
  wrong++;
  console.error(`${v.kind}: ${v.comment}: ${what}`);
}

function bytes(text, encoding = "base64") {
  const b = Buffer.from(text ?? "", encoding);
  if (b.toString(encoding) !== (text ?? "")) throw new Error(`not ${encoding}: ${text}`);
  return b;
}

function parse(v) {
  if (!Object.hasOwn(open, v.kind) || typeof v.valid !== "boolean") throw new Error(`${v.comment}: kind ${v.kind}, valid ${v.valid}`);
  const strange = Object.keys(v.context).find((f) => !fields.includes(f));
  if (strange) throw new Error(`${v.comment}: a context with ${strange}`);
  const p = {
    kind: v.kind, valid: v.valid, comment: v.comment, context: v.context, name: v.key_name, owner: v.owner,
    key: bytes(v.key), keyID: bytes(v.key_id, "hex"), plaintext: bytes(v.plaintext), sealed: bytes(v.sealed),
  };
  if (p.key.length !== 32 || p.keyID.length !== 8) throw new Error(`${v.comment}: the key's size`);
  return p;
}

const vectors = JSON.parse(readFileSync(process.argv[2], "utf8")).map(parse);
const count = Object.fromEntries(Object.keys(open).map((kind) => [kind, { opened: 0, refused: 0 }]));
for (const v of vectors) {
  const opened = opens(v, v.sealed);
  count[v.kind][opened ? "opened" : "refused"]++;
  if (opened !== v.valid) disagree(v, opened ? "opened" : "refused");
}
const headers = `${dataKeys.opened}+${dataKeys.refused}`;

// Every single bit of the shortest valid vector of each kind.
let flips = 0;
for (const kind of Object.keys(open)) {
  const v = vectors.filter((x) => x.kind === kind && x.valid).sort((a, b) => a.sealed.length - b.sealed.length)[0];
  if (!v || !count[kind].refused) throw new Error(`no vectors for ${kind}`);
  for (let bit = 0; bit < 8 * v.sealed.length; bit++, flips++) {
    const b = Buffer.from(v.sealed);
    b[bit >> 3] ^= 1 << (bit & 7);
    if (opens(v, b)) disagree(v, `opened with bit ${bit} flipped`);
  }
}

const counts = Object.entries(count).map(([kind, c]) => `${kind} ${c.opened}+${c.refused}`).join(", ");
console.log(`${vectors.length} vectors (opened+refused: ${counts}; their data keys ${headers}), ${flips} flipped bits, ${wrong} disagreements`);
process.exit(wrong ? 1 : 0);
