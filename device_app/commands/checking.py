"""``earmark demo``, ``doctor`` and ``bench``."""

import argparse

from device_app.commands.options import Commands, add_command, add_microphone, add_model, positive_float


def add(commands: Commands) -> None:
    """Add the subcommands."""
    demo = add_command(commands, "demo", "enrol bundled sounds, hear them in a noisy stream, say how it went")
    demo.add_argument(
        "--seed", type=int, default=0, help="order, moments and levels in the stream (default: %(default)s)"
    )
    demo.add_argument("--json", action="store_true", help="one object at the end instead of events and a table")
    add_model(demo)
    demo.set_defaults(run=_demo)

    doctor = add_command(commands, "doctor", "check this machine, its model and its microphone, and say what to do")
    doctor.add_argument("--json", action="store_true", help="one object a line for each check")
    add_microphone(doctor)
    add_model(doctor)
    doctor.set_defaults(run=_doctor)

    bench = add_command(commands, "bench", "measure what listening costs on this machine: time, memory, CPU")
    bench.add_argument(
        "--seconds",
        type=bench_seconds,
        default=15.0,
        help="of listening in real time, at least 5 (default: %(default)s)",
    )
    bench.add_argument("--json", action="store_true", help="one object instead of a table")
    add_model(bench)
    bench.set_defaults(run=_bench)


def _demo(args: argparse.Namespace) -> int:
    from device_app.demo.command import demo

    return demo(args.model, args.seed, as_json=args.json)


def _doctor(args: argparse.Namespace) -> int:
    from device_app.capture import MicrophoneSource
    from device_app.health.doctor import doctor

    return doctor(args.model, MicrophoneSource(args.device, args.channel), as_json=args.json)


def _bench(args: argparse.Namespace) -> int:
    from device_app.health.bench import bench

    return bench(args.model, args.seconds, as_json=args.json)


def bench_seconds(text: str) -> float:
    """Seconds, from 5 to an hour."""
    value = positive_float(text)
    if value < 5.0:
        raise argparse.ArgumentTypeError(f"{value} is less than 5")
    return value
