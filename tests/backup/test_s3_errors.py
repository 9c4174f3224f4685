"""Each answer of S3 becomes one error with an exit code, and shows no key."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, NoCredentialsError, ReadTimeoutError

from pumpwatch.backup.plan import S3Target
from pumpwatch.backup.s3_errors import s3_errors
from pumpwatch.errors import PumpWatchError

TARGET = S3Target("my-bucket", "p/", access_key="MY-ACCESS-KEY", secret_key="MY-SECRET")


@pytest.mark.parametrize(("error", "code", "said"), [
    (ClientError({"Error": {"Code": "AccessDenied", "Message": "no MY-ACCESS-KEY"}}, "PutObject"), 78, "their permissions"),
    (ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadObject"), 78, "rejects uploading"),
    (ClientError({"Error": {"Code": "RequestTimeTooSkewed", "Message": "x"}}, "PutObject"), 69, "set the clock"),
    (ClientError({"Error": {"Code": "NoSuchBucket", "Message": "x"}}, "PutObject"), 78, "the bucket my-bucket does not exist"),
    (ClientError({"Error": {"Code": "NoSuchKey", "Message": "x"}}, "GetObject"), 74, "the object does not exist"),
    (ClientError({"Error": {"Code": "SlowDown", "Message": "MY-SECRET\n\x1b[2J"}}, "PutObject"), 69, "SlowDown"),
    (ClientError({"ResponseMetadata": {"HTTPStatusCode": 403}}, "HeadObject"), 78, "rejects"),
    (NoCredentialsError(), 78, "AWS_ACCESS_KEY_ID"),
    (ReadTimeoutError(endpoint_url="http://x"), 69, "the next backup continues this upload"),
])
def test_an_answer_is_one_error(error: Exception, code: int, said: str) -> None:
    with pytest.raises(PumpWatchError) as caught, s3_errors(TARGET, "uploading"):
        raise error
    text = str(caught.value)
    assert caught.value.exit_code == code and said in text
    assert not any(word in text for word in ("MY-SECRET", "MY-ACCESS-KEY", "\n", "\x1b"))
