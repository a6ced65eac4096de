"""What differs between two fingerprints, in words."""

from collections.abc import Mapping


def differences(then: Mapping[str, object], now: Mapping[str, object]) -> str:
    """Each value that is not the same, then and now; empty where all are.

    Examples:
        >>> differences({"seed": 1, "epochs": 50}, {"seed": 1, "epochs": 60})
        'epochs: 50 then, 60 now'
    """
    keys = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
    return "; ".join(f"{key}: {then.get(key)} then, {now.get(key)} now" for key in keys)
