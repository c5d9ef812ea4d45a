"""Plays AWS STS and IAM for the tests of logins: a proxy that ends TLS itself, checks signatures, and asks moto.

    front.py FOLDER [ADDRESS]

FOLDER holds `sts.crt` and `sts.key` (served for sts.* and iam.amazonaws.com) and `accounts.json`, which names the
users and roles to make. When all is there, `ready.json` appears in it: the proxy's port, and the environment of each
identity. The proxy listens on ADDRESS, loopback if there is none. moto believes every signature; here each is computed
again from what was received, so that a wrong secret or a header that was not signed is refused as AWS refuses it. No
call leaves this machine.
"""

import datetime
import hashlib
import hmac
import http.client
import http.server
import json
import os
import pathlib
import re
import ssl
import sys
import urllib.parse

import boto3
from moto.server import ThreadedMotoServer

FOLDER = pathlib.Path(sys.argv[1])
ADDRESS = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1"
OUR_HOSTS = re.compile(r"(sts|iam)(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?")
HEADER = re.compile(r"AWS4-HMAC-SHA256 Credential=([^,]+), *SignedHeaders=([^,]+), *Signature=([0-9a-f]+)")
QUESTION = "/?Action=GetCallerIdentity&Version=2011-06-15&ContentType=JSON"
TIME = "%Y%m%dT%H%M%SZ"

credentials = {}  # access key id -> (secret key, session token or None)
moto_address = None


def hmac_sha256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature(secret, method, url, headers, body_hash, scope, signed, time):
    """Signature version 4: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html"""
    pairs = urllib.parse.parse_qsl(url.query, keep_blank_values=True)
    quoted = sorted(
        tuple(urllib.parse.quote(part, safe="-_.~") for part in pair) for pair in pairs if pair[0] != "X-Amz-Signature"
    )
    lines = [method, url.path or "/", "&".join("=".join(pair) for pair in quoted)]
    lines += [f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed.split(";")]
    lines += ["", signed, body_hash]
    hashed = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac_sha256(key, part)
    return hmac_sha256(key, "\n".join(["AWS4-HMAC-SHA256", time, scope, hashed])).hex()


def refusal(method, url, headers, body):
    """The error code with which AWS refuses the request, or None; and the credential it is signed with."""
    query = dict(urllib.parse.parse_qsl(url.query))
    if "X-Amz-Signature" in query:  # presigned, as tokens are
        credential, signed, given = (query[f"X-Amz-{name}"] for name in ("Credential", "SignedHeaders", "Signature"))
        time, token, body = query["X-Amz-Date"], query.get("X-Amz-Security-Token"), b""
    elif found := HEADER.match(headers.get("authorization", "")):
        credential, signed, given = found.groups()
        time, token = headers.get("x-amz-date", ""), headers.get("x-amz-security-token")
    else:
        return "MissingAuthenticationToken", None
    access_key, _, scope = credential.partition("/")
    secret, wanted_token = credentials.get(access_key, (None, None))
    if secret is None or token != wanted_token:
        return "InvalidClientTokenId", None
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.strptime(time, TIME).replace(tzinfo=datetime.UTC)
    body_hash = hashlib.sha256(body).hexdigest()
    right = signature(secret, method, url, headers, body_hash, scope, signed, time)
    if abs(age) > datetime.timedelta(minutes=15) or not hmac.compare_digest(right, given):
        return "SignatureDoesNotMatch", None
    return None, credential


def ask_moto(method, target, headers, body):
    connection = http.client.HTTPConnection(*moto_address, timeout=30)
    connection.request(method, target, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.getheader("Content-Type", "text/xml"), answer.read()


def answer_to(method, target, headers, body):
    """Status, content type, body."""
    url = urllib.parse.urlsplit(target)
    code, credential = refusal(method, url, headers, body)
    if code:
        text = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code></Error></ErrorResponse>"
        return 403, "text/xml", text.encode()
    if "X-Amz-Signature" in url.query:
        # moto would take a presigned request for one to S3: it looks for the key in this header alone.
        header = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=checked"
        status, _, text = ask_moto("GET", QUESTION, {"Host": headers["host"], "Authorization": header}, None)
        return status, "application/json", text
    kept = {name: value for name, value in headers.items() if name not in ("connection", "accept-encoding")}
    status, kind, text = ask_moto(method, target, kept, body)
    learn(text.decode())
    return status, kind, text


def learn(text):
    """Remembers the credentials that an answer hands out, as AssumeRole does."""
    field = {name: re.search(rf"<{name}>\s*(\S+?)\s*</{name}>", text) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")}
    if field["AccessKeyId"] and field["SecretAccessKey"]:
        token = field["SessionToken"] and field["SessionToken"][1]
        credentials[field["AccessKeyId"][1]] = (field["SecretAccessKey"][1], token)


class Front(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_CONNECT(self):
        if not OUR_HOSTS.fullmatch(self.path.rpartition(":")[0]):
            return self.send_error(403, "only STS and IAM are played here")
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
        self.close_connection = False

    def do_GET(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        status, kind, text = answer_to(self.command, self.path, headers, body)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET

    def log_message(self, form, *arguments):
        # Neither queries nor signatures: they are credentials.
        print(self.command, self.path.partition("?")[0], *arguments[1:], flush=True)


def make_accounts(wanted):
    """Makes the users and roles that are asked for; the environment with which a client is each of them."""
    aws = {"endpoint_url": "http://{}:{}".format(*moto_address), "region_name": "us-east-1"}
    root = {"aws_access_key_id": "root", "aws_secret_access_key": "root"}
    iam, sts = boto3.client("iam", **aws, **root), boto3.client("sts", **aws, **root)
    environments = {}
    for user in wanted["users"]:
        iam.create_user(UserName=user["name"], Path=user["path"])
        environments[user["name"]] = iam.create_access_key(UserName=user["name"])["AccessKey"]
    for role in wanted["sessions"]:
        answer = sts.assume_role(RoleArn=role["roleArn"], RoleSessionName=role["session"])
        environments[role["name"]] = answer["Credentials"]
    return {name: environment(keys) for name, keys in environments.items()}


def environment(keys):
    credentials[keys["AccessKeyId"]] = (keys["SecretAccessKey"], keys.get("SessionToken"))
    fields = ("AccessKeyId", "AWS_ACCESS_KEY_ID"), ("SecretAccessKey", "AWS_SECRET_ACCESS_KEY"), ("SessionToken", "AWS_SESSION_TOKEN")
    return {variable: keys[field] for field, variable in fields if field in keys}


def main():
    global moto_address
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    moto_address = moto.get_host_and_port()
    server = http.server.ThreadingHTTPServer((ADDRESS, 0), Front)
    server.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.tls.load_cert_chain(FOLDER / "sts.crt", FOLDER / "sts.key")
    identities = make_accounts(json.loads((FOLDER / "accounts.json").read_text()))
    unfinished = FOLDER / "ready.json.part"
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps({"port": server.server_address[1], "identities": identities}))
    os.rename(unfinished, FOLDER / "ready.json")
    server.serve_forever()


main()
