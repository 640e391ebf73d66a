"""One module a sub-command: `add_parser(subparsers)` names its options, `run(args)` does the work and returns 0.

Heavy imports stay inside `run`, so that `ecul --help` is quick.
"""
