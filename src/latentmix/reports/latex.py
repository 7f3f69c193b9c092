"""Text as LaTeX prints it, in any cell of a table."""

from __future__ import annotations

# "<", ">" and "|" are other characters in LaTeX's first font encoding.
ESCAPED = str.maketrans(
    {character: f"\\{character}" for character in "&%_#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "\n": " ", "\r": " "}
)


def escaped(text: str) -> str:
    """Replace the characters that LaTeX reads as commands; ± becomes a formula."""
    # A bracket or a star at the start of a line would be an option of the line break before it.
    return ("{}" if text[:1] in ("[", "*") else "") + text.translate(ESCAPED)
