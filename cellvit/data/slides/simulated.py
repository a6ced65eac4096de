"""How a simulated slide says that it is one: a sentence in the description of its file."""

from typing import Final

SIMULATED_PHRASE: Final = "simulated by cellvit-optimus"
"""Part of the description of every slide that `cellvit simulate_slide` writes."""

SIMULATED_NOTE: Final = "This slide is simulated: no patient, no tissue. Numbers from it say nothing about real tissue."
"""The note of such a slide, for reports."""


def simulated_notes(description: str) -> tuple[str, ...]:
    """The note that belongs to a file with this description; none of a real slide.

    Examples:
        >>> simulated_notes("Aperio Image Library v11.2.1")
        ()
    """
    return (SIMULATED_NOTE,) if SIMULATED_PHRASE in description.lower() else ()
