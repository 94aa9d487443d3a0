"""How Pulumi marks a secret in states and previews, and what stands in its place; pure."""

from policies.judge import SECRET as HIDDEN

__all__ = ["HIDDEN", "SIGNATURE", "SIGNATURE_OF_SECRET"]

SIGNATURE = "4dabf18193072939515e22adb298388d"
"""The key by which Pulumi tells a special value, such as a secret, from a plain object."""
SIGNATURE_OF_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - Pulumi's mark of a secret, public
