"""The command line: arguments -> api -> text and files. ``melogit.cli.main:main`` is the program ``melogit``."""
