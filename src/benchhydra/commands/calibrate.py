"""Measure the error of this machine as a client: the highest rate at which TTFT is exact to 1 ms.

Sends requests at rising rates to a built-in server that records when it sent each token, and saves the highest rate at
which the 99th percentile of the error stays under 1 ms. The verdict calls a run at a higher rate SUSPECT.
"""

from __future__ import annotations

import argparse
import sys

from benchhydra import calibration, environment
from benchhydra.errors import BenchhydraError, ResultError

HEAD = f"{'offered':>9} {'sent':>9} {'requests':>9} {'failed':>7} {'TTFT error mean':>16} {'p99':>9} {'lag p99':>9}\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra calibrate``."""
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each step (default 3)")
    parser.add_argument("--max-rate", type=float, default=1600.0, help="highest rate tried, requests/s (default 1600)")
    parser.add_argument("--dry-run", action="store_true", help="measure and print, save nothing")


def run(args: argparse.Namespace) -> int:
    """Measure, print each step, save the highest exact rate. Returns 1 if no rate was exact."""
    rates = [rate for rate in calibration.RATES_RPS if rate <= args.max_rate]
    if not rates or args.seconds <= 0:
        raise BenchhydraError(
            f"--max-rate {args.max_rate:g} --seconds {args.seconds:g}: nothing to measure",
            hint=f"--max-rate must be at least {calibration.RATES_RPS[0]:g}, --seconds above 0",
        )
    sys.stdout.write(HEAD)
    steps = []
    for step in calibration.measure_rates(rates, args.seconds):
        sys.stdout.write(_line(step))
        sys.stdout.flush()
        steps.append(step)
    return _conclude(calibration.exact_up_to_rps(steps), save=not args.dry_run)


def _conclude(rate_rps: float | None, *, save: bool) -> int:
    name = environment.this_machine_class()
    if rate_rps is None:
        sys.stdout.write(f"{name}: no rate was exact to {calibration.EXACT_MS:g} ms; is the machine busy?\n")
        return 1
    sys.stdout.write(f"{name}: exact to {calibration.EXACT_MS:g} ms up to {rate_rps:g} requests/s\n")
    if save:
        try:
            sys.stdout.write(f"saved in {calibration.save_calibration(name, rate_rps)}\n")
        except OSError as error:
            raise ResultError(f"cannot save the calibration: {error}", hint="--dry-run saves nothing") from error
    return 0


def _line(step: calibration.CalibrationStep) -> str:
    counts = f"{step.offered_rps:9.4g} {step.achieved_rps:9.4g} {step.requests:9} {step.failed:7}"
    return f"{counts} {step.mean_error_ms:13.3f} ms {step.p99_error_ms:6.3f} ms {step.lag_p99_ms:6.3f} ms\n"
