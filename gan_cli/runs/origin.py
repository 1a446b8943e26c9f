"""Whether a run was started here: a run's config is signed with a key that only this user has.

A config from elsewhere must not choose which files are read.
"""

import hashlib
import hmac
import json
import secrets
from pathlib import Path

from filelock import FileLock

from gan_cli.config.nodes import Config
from gan_cli.files import atomic, cache_folder

KEY_BYTES = 32


def signature(config: Config) -> str:
    """The config's signature; empty if this user's key can neither be read nor made."""
    try:
        key = user_key(cache_folder() / "origin.key")
    except (OSError, ValueError):
        return ""
    return hmac.new(key, json.dumps(config, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def is_ours(config: Config, signed: str) -> bool:
    return bool(signed) and hmac.compare_digest(signature(config).encode(), signed.encode())


def user_key(path: Path) -> bytes:
    """The key, made at its first use; raises ValueError for a file that is not one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if not path.exists():
            with atomic(path) as partial:
                partial.touch(mode=0o600)
                partial.write_bytes(secrets.token_bytes(KEY_BYTES))
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path} is not a key")
    return key
