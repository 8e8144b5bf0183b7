"""``kinetics reproduce`` and ``doctor``: whether the papers hold, and whether this installation does."""

from __future__ import annotations

import argparse

from fits.commands.common import one_line, print_json


def doctor_command(args: argparse.Namespace) -> int:
    """Examine the installation; 0 sound, 1 not sound."""
    from fits.doctor import Health, examine

    diagnosis = examine()
    if args.json:
        print_json(diagnosis.to_dict())
        return int(not diagnosis.sound)
    width = max(len(finding.name) for finding in diagnosis.findings)
    for finding in diagnosis.findings:
        print(f"{finding.health.value:7}  {finding.name:{width}}  {one_line(finding.text)}")
        if finding.remedy and finding.health is not Health.SOUND:
            print(f"{'':7}  {'':{width}}  do: {finding.remedy}")
    print("\nthis installation is sound" if diagnosis.sound else "\nthis installation is not sound")
    return int(not diagnosis.sound)
