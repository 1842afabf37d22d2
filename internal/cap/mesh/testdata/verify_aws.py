"""Signs requests again with botocore, AWS's own implementation, and says what it gets."""

import json
import sys

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def sign(ask):
    auth = S3SigV4Auth if ask["Service"] == "s3" else SigV4Auth
    signer = auth(Credentials(ask["ID"], ask["Secret"], ask["Token"]), ask["Service"], ask["Region"])
    headers = ask["Headers"]
    url = "https://" + headers["host"] + ask["Target"]
    request = AWSRequest(ask["Method"], url, headers=headers, data=ask["Body"].encode())
    request.context["timestamp"] = headers["x-amz-date"]
    canonical = signer.canonical_request(request)
    return {"signature": signer.signature(signer.string_to_sign(request, canonical), request), "canonical": canonical}


json.dump([sign(ask) for ask in json.load(sys.stdin)], sys.stdout)
