"""Prints login tokens, one a line: signed_token.py CLUSTER_ID REGION AGE NUMBER. The first was signed AGE seconds ago, each
one a second before the one in front of it. Credentials come from the environment. The form of a token:
https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster"""

import base64
import datetime
import sys

import botocore.auth
import botocore.awsrequest
import botocore.credentials

cluster_id, region, age, number = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
credentials = botocore.credentials.EnvProvider().load()


def token(signed_at):
    # botocore's signer asks this function what time it is.
    botocore.auth.get_current_datetime = lambda remove_tzinfo=True: signed_at
    request = botocore.awsrequest.AWSRequest(
        method="GET",
        url=f"https://sts.{region}.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15",
        headers={"x-k8s-aws-id": cluster_id},
    )
    botocore.auth.SigV4QueryAuth(credentials, "sts", region, expires=60).add_auth(request)
    return "k8s-aws-v1." + base64.urlsafe_b64encode(request.url.encode()).decode().rstrip("=")


for second in range(number):
    print(token(now - datetime.timedelta(seconds=age + second)))
