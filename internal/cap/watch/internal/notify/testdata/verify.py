# Verifies a webhook as Standard Webhooks 1.0.0 says: reads {"secret", "headers", "body"} as JSON, prints ok or what is wrong.
import base64, hashlib, hmac, json, sys

request = json.load(sys.stdin)
secret = request["secret"]
key = base64.b64decode(secret[len("whsec_"):]) if secret.startswith("whsec_") else secret.encode()
headers = {name.lower(): value for name, value in request["headers"].items()}
signed = headers["webhook-id"] + "." + headers["webhook-timestamp"] + "." + request["body"]
want = base64.b64encode(hmac.new(key, signed.encode(), hashlib.sha256).digest()).decode()
for part in headers["webhook-signature"].split(" "):
    version, _, value = part.partition(",")
    if version == "v1" and hmac.compare_digest(value, want):
        print("ok")
        break
else:
    print("no signature fits")
