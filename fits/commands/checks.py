"""``kinetics reproduce`` and ``doctor``: whether the papers hold, and whether this installation does."""

from __future__ import annotations

import argparse

from fits.commands.common import heartbeat, one_line, print_json, warn


def reproduce_command(args: argparse.Namespace) -> int:
    """Check every claim, print the table and write the page; 0 core claims hold, 1 one fails."""
    from fits.report import check_target, write_page
    from fits.reproduce import reproduce

    if not args.no_page:
        check_target(args.output, force=args.force)
    reproduction = reproduce(calibrate=not args.no_calibration, draws=args.draws)
    print(reproduction.to_json() if args.json else reproduction.table(), flush=True)
    if not args.no_page:
        write_page(reproduction, args.output, force=args.force)
        warn(f"the page is {args.output}", args)
    return reproduction.exit_status


def doctor_command(args: argparse.Namespace) -> int:
    """Examine the installation; 0 sound, 1 not sound."""
    from fits.doctor import TRIALS, Health, examine

    with heartbeat("trying everything", args, TRIALS) as tried:
        diagnosis = examine(tried)
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
