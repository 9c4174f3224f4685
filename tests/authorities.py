"""The authorities that this machine trusts, in place of which a test has one of nobody's.

To read the real ones takes a tenth of the start of a collector, and no test reaches anybody whom they know.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme


@pytest.fixture(scope="session")
def authority_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the certificate of an authority that has signed nothing."""
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(file)
    return file


@pytest.fixture(scope="module", autouse=True)
def trusts_nobody(authority_of_nobody: Path) -> Iterator[None]:
    """Have this process, and all that it starts, trust that authority alone, besides those that a config names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority_of_nobody))
        patch.setenv("SSL_CERT_DIR", os.devnull)
        yield
