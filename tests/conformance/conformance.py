#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests a backend of poolfs through a mount of its own; see --help."""
import argparse
import os
import shlex
import sys
import unittest

import commands
import ends
import files
import lab
import machines
import streams

CASES = (*machines.CASES, *commands.CASES, *files.CASES, *streams.CASES, *ends.CASES)
STEPS = {"create": "the machine cannot be made: the boot fails at once",
         "never-ready": "the machine does not come up, and boot_timeout is a few seconds",
         "ends": "the machine ends by itself as soon as it is up, or before",
         "destroy": "the machine cannot be destroyed, or that hangs"}

ABOUT = """\
Mounts CONFIG, and holds the machines of its pool POOL to what poolfs promises of any kind of machine
(FILESYSTEM.md): making, readiness, commands, files, console, forwards, verbs, rmdir in every state, and
that nothing is left: no process, mount, socket, file or control group. What a kind has is read from what an
instance lists; what is not listed must be refused. Needs fusermount3, and in the machine a POSIX shell with
cat, chmod, head, ls, mkdir, mv, rm, sleep and touch.

POOL's machines are made and destroyed several times, three of them at a time where pool.count allows it.
They must be free: everything that they run is stopped. The login must be able to write to files/ and /tmp.
"""

EXIT = """\
steps:
""" + "".join(f"  {step:13}{what}\n" for step, what in STEPS.items()) + """
Exit status: 0 when all is well, 1 when something failed, 2 when it was called wrongly.

example, for a module of one's own:
  conformance.py --poolfs 'poolfs --module ./my.so' my.ini lab \\
      --break create=refuses.ini --break never-ready=silent.ini --console 'echo $((6*7))-=42-'
"""


def pair(word):
    """STEP=CONFIG."""
    step, equals, config = word.partition("=")
    if step not in STEPS or not equals:
        raise argparse.ArgumentTypeError(f"{word}: STEP=CONFIG is needed; steps: {', '.join(STEPS)}")
    return step, os.path.abspath(config)


def parse(words):
    """The command line."""
    parser = argparse.ArgumentParser(prog="conformance.py", description=ABOUT, epilog=EXIT,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", metavar="CONFIG", type=os.path.abspath,
                        help="a configuration of poolfs")
    parser.add_argument("pool", metavar="POOL", help="the pool in it that is tested")
    parser.add_argument("--break", dest="broken", metavar="STEP=CONFIG", type=pair, action="append",
                        default=[], help="a configuration whose POOL fails at that step; may be "
                        "given for each step, and steps without one are skipped")
    parser.add_argument("--console", metavar="TYPE=SHOWN",
                        help="what to type into the console, and a regular expression of what it "
                        "must show then")
    parser.add_argument("--poolfs", metavar="COMMAND", type=shlex.split, default=["poolfs"],
                        help="the program, and options for it (default: poolfs)")
    parser.add_argument("--patience", metavar="SECONDS", type=float, default=lab.PATIENCE,
                        help="the longest wait for anything, a boot included (default: %(default)g)")
    parser.add_argument("-k", dest="chosen", metavar="TEXT", action="append",
                        help="only tests whose names hold the text; may be repeated")
    return parser.parse_args(words)


def tests(chosen):
    """The tests, in the order in which they stand in the files: instances pass from one to the next,
    and the unmount comes last."""
    suite = unittest.TestSuite()
    for case in CASES:
        suite.addTests(case(name) for name in vars(case) if name.startswith("test_") and
                       (not chosen or any(text in f"{case.__name__}.{name}" for text in chosen)))
    return suite


def work(options, base):
    """Runs all, in the child of the keeper; the exit status."""
    lab.PATIENCE = options.patience
    try:
        lab.Case.lab = lab.Lab(options, base)
    except (AssertionError, OSError) as error:
        print("conformance.py:", error, file=sys.stderr)
        return 1
    lab.Case.lab.begin()
    result = unittest.TextTestRunner(verbosity=2).run(tests(options.chosen))
    problems = lab.Case.lab.stop()
    for problem in problems:
        print("FAIL:", problem, file=sys.stderr)
    return 0 if result.wasSuccessful() and result.testsRun and not problems else 1


def main(words):
    """Runs the tests below the keeper; the exit status."""
    options = parse(words)
    return lab.keep(lambda base: work(options, base))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
