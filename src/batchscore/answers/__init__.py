"""What each command does, and what it answers: from the options of the command line to an `Answer`.

The command line imports the one file that a command needs, since the others import what it does not.
"""
