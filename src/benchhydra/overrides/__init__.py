"""What users type: words rewritten into Hydra's grammar, the groups and options there are, errors explained.

Commands that compose experiments use this as the program itself does.
"""
