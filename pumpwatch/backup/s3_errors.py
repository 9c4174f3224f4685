"""Turn the errors of S3 and its client into actionable messages, which never show a key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pumpwatch.backup.plan import S3Target
from pumpwatch.errors import ConfigError, PumpWatchError, ServiceUnavailable, StorageError
from pumpwatch.net.texts import one_line
from pumpwatch.notify.secret_values import hidden

SHOWN = 300  # characters of a foreign text
REJECTED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled", "AccountProblem", "InvalidToken",
            "ExpiredToken", "AuthorizationHeaderMalformed", "401", "403"}
SKEWED = {"RequestTimeTooSkewed", "RequestExpired"}
MISSING = {"NoSuchKey", "404", "NotFound"}
AGAIN = "the local backup is complete; the next backup continues this upload"


@contextmanager
def s3_errors(target: S3Target, doing: str) -> Iterator[None]:
    """Raise the client's errors as errors of PumpWatch.

    ConfigError: S3 rejects the keys, or the bucket does not exist. StorageError: an object is missing. ServiceUnavailable: S3
    does not answer in time, closes the connection, or finds this machine's clock wrong.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    try:
        yield
    except ClientError as error:
        raise _refused(target, doing, error.response) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise ConfigError(f"{target.url}: S3 needs keys, and none are set", "set backup.s3.access_key and secret_key, or"
                          " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from error
    except BotoCoreError as error:
        raise ServiceUnavailable(f"{target.url}: {doing} failed: {_shown(target, str(error))}", AGAIN) from error


def _refused(target: S3Target, doing: str, answer: Any) -> PumpWatchError:
    said = answer.get("Error", {})
    code = str(said.get("Code", "")) or str(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    text = _shown(target, f"{code} {said.get('Message', '')}")
    if code in SKEWED:
        return ServiceUnavailable(f"{target.url}: S3 finds the clock of this machine wrong: {text}",
                                  "set the clock (timedatectl set-ntp true), then make the backup again")
    if code == "NoSuchBucket":
        return ConfigError(f"{target.url}: the bucket {target.bucket} does not exist", "create it, or set backup.s3.url")
    if code in REJECTED:
        return ConfigError(f"{target.url}: S3 rejects {doing}: {text}",
                           "check backup.s3.access_key and secret_key, and their permissions: list, get, put and delete")
    if code in MISSING:
        return StorageError(f"{target.url}: {doing} failed: the object does not exist",
                            "take another backup: `pumpwatch backup list` shows them")
    return ServiceUnavailable(f"{target.url}: {doing} failed: {text}", AGAIN)


def _shown(target: S3Target, text: str) -> str:
    return one_line(hidden(text, [target.access_key, target.secret_key]))[:SHOWN]
