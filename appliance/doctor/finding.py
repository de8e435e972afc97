"""One thing that was looked at, and how findings are told: as text, JSON, or rows for scripts/doctor.sh."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from appliance.errors import ApplianceError

Severity = Literal["ok", "note", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("ok", "note", "warning", "error")
_STATUS: dict[Severity, int] = {"ok": 0, "note": 0, "warning": 1, "error": 2}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


@dataclass(frozen=True, slots=True)
class Finding:
    """``check``: a short name of what was looked at. ``remedy``: something to type, where there is something to do."""

    check: str
    severity: Severity
    seen: str
    remedy: str = ""


def failed(check: str, error: ApplianceError) -> Finding:
    return Finding(check, "error", error.message, error.hint)


def worst(findings: Sequence[Finding]) -> Severity:
    return max((finding.severity for finding in findings), key=SEVERITIES.index, default="ok")


def status(findings: Sequence[Finding]) -> int:
    """The exit status that tells the worst."""
    return _STATUS[worst(findings)]


def as_text(findings: Sequence[Finding]) -> str:
    width = max((len(finding.check) for finding in findings), default=0)
    lines = []
    for finding in findings:
        lines.append(f"{finding.severity:<8} {finding.check:<{width}}  {_line(finding.seen)}")
        if finding.remedy:
            lines.append(f"{'':<8} {'':<{width}}  -> {_line(finding.remedy)}")
    numbers = [f"{sum(finding.severity == each for finding in findings)} {each}" for each in reversed(SEVERITIES)]
    lines += ["", ", ".join(numbers)]
    return "\n".join(lines) + "\n"


def as_json(findings: Sequence[Finding]) -> str:
    told = {"worst": worst(findings), "findings": [asdict(finding) for finding in findings]}
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def as_rows(findings: Sequence[Finding]) -> str:
    """Severity, check, what was seen and the remedy between tabs: bash reads these."""
    return "".join(
        "\t".join((finding.severity, finding.check, _line(finding.seen), _line(finding.remedy))) + "\n"
        for finding in findings
    )


def _line(text: str) -> str:
    """On one line, without what a terminal would act on."""
    return _CONTROL.sub(" ", text).strip()
