"""An independent reader of the format: it reads docs/FORMAT.md's vectors by what that page says, and shares no code with Ward.

Every valid vector must open, every other be refused, and so must each valid one with any bit flipped or any end cut off (in streams: at the places that matter).
"""

import base64
import hmac
import json
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

FIELDS = ("service", "class", "tenant", "table", "column", "row")
CHUNK, TAG = 16 * 1024, 16


class Refused(Exception):
    pass


def need(condition):
    if not condition:
        raise Refused


def equal(a, b):
    need(hmac.compare_digest(a, b))


def hkdf(secret, info):
    return HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(secret)


def mac(key, *parts):
    return hmac.digest(key, b"".join(parts), "sha256")


def lp(b):
    return len(b).to_bytes(2, "big") + b


def encode(context):
    fields = [context[f].encode() for f in FIELDS]
    need(all(len(f) <= 1024 for f in fields))
    need(fields[1] and any(fields[2:]))
    return b"ward context v1" + b"".join(lp(f) for f in fields)


def gcm(key, nonce, sealed, ad):
    need(len(sealed) >= TAG)
    try:
        return AESGCM(key).decrypt(nonce, sealed, ad)
    except InvalidTag:
        raise Refused


def data_key(v, header, kind):
    need(len(header) == 104)
    owner = v["owner"].encode()
    by = 2 if owner else 1
    need(header[:4] == bytes([1, kind, 1, by]) and header[4:12] == v["key_id"])
    ad = b"ward data key v1" + bytes([by]) + v["key_id"] + lp(v["key_name"].encode()) + lp(owner)
    d = gcm(hkdf(v["key"], b"ward seal v1 wrap"), header[12:24], header[24:72], ad)
    equal(hkdf(d, b"ward seal v1 commitment"), header[72:104])
    return d


def message(v):
    header, rest = v["sealed"][:104], v["sealed"][104:]
    d = data_key(v, header, 1)
    return gcm(hkdf(d, b"ward seal v1 message"), rest[:12], rest[12:], header + encode(v["context"]))


def stream(v):
    header, rest = v["sealed"][:104], v["sealed"][104:]
    d = data_key(v, header, 3)
    salt, commitment, body = rest[:24], rest[24:56], rest[56:]
    need(len(commitment) == 32)
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + header + encode(v["context"])
    out = HKDFExpand(hashes.SHA512(), 76, info).derive(hkdf(d, b"ward seal v1 stream"))
    equal(out[44:], commitment)
    plain, n = b"", 0
    while True:
        chunk, body = body[: CHUNK + TAG], body[CHUNK + TAG :]
        nonce = int.from_bytes(out[32:44], "big") ^ n
        plain += gcm(out[:32], nonce.to_bytes(12, "big"), chunk, b"")
        n += 1
        if len(chunk) < CHUNK + TAG:
            need(not body)
            return plain


def lookup_key(v, use):
    need(v["context"]["row"] == "")
    return hkdf(hkdf(v["key"], b"ward lookup v1 key"), b"ward lookup v1 " + use)


def lookup(v):
    head, siv, sealed = v["sealed"][:12], v["sealed"][12:44], v["sealed"][44:]
    need(len(siv) == 32 and head == bytes([1, 2, 2, 0]) + v["key_id"])
    ctr = Cipher(algorithms.AES(lookup_key(v, b"encrypt")), modes.CTR(siv[:16])).decryptor()
    plain = ctr.update(sealed) + ctr.finalize()
    equal(mac(lookup_key(v, b"mac"), head, encode(v["context"]), plain), siv)
    return plain


def index(v):
    equal(mac(lookup_key(v, b"index"), encode(v["context"]), v["plaintext"])[:16], v["sealed"])
    return v["plaintext"]


def message_mac(v):
    need(v["sealed"][:12] == bytes([1, 4, 3, 0]) + v["key_id"])
    equal(mac(hkdf(v["key"], b"ward mac v1"), encode(v["context"]), v["plaintext"]), v["sealed"][12:])
    return v["plaintext"]


READERS = {"message": message, "stream": stream, "lookup": lookup, "index": index, "mac": message_mac}


def opens(v):
    try:
        return READERS[v["kind"]](v)
    except Refused:
        return None


def load(v):
    for name in ("key", "plaintext", "sealed"):
        v[name] = base64.b64decode(v[name] or "")
    v["key_id"] = bytes.fromhex(v["key_id"])
    v["context"] = {name: v["context"].get(name, "") for name in FIELDS}
    return v


def changes(sealed):
    """Every bit flipped and every cut, or of long ones those around the borders of their parts."""
    places = range(len(sealed))
    if len(sealed) > 4096:
        borders = [0, 104, 128, 160, 160 + CHUNK, 160 + CHUNK + TAG, len(sealed)]
        places = [i for i in places if any(abs(i - b) < 3 for b in borders)]
    for i in places:
        for bit in range(8):
            yield sealed[:i] + bytes([sealed[i] ^ 1 << bit]) + sealed[i + 1 :]
        yield sealed[:i]
    yield sealed + b"\0"


def main():
    opened = refused = changed = 0
    wrong = []
    with open(sys.argv[1]) as f:
        vectors = [load(v) for v in json.load(f)]
    for v in vectors:
        got = opens(v)
        if not v["valid"]:
            refused += 1
            if got is not None:
                wrong.append("opens: " + v["comment"])
            continue
        opened += 1
        if got != v["plaintext"]:
            wrong.append("doesn't open: " + v["comment"])
        for sealed in changes(v["sealed"]):
            changed += 1
            if opens({**v, "sealed": sealed}) is not None:
                wrong.append("opens, changed: " + v["comment"])
    print(f"{opened} opened, {refused} refused, {changed} changed ones refused")
    if wrong or not opened or not refused:
        sys.exit("\n".join(wrong))


main()
