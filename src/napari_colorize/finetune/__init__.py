"""Fine-tuning as a front end sees it: a process of its own, and a folder that tells of it.

Nothing here imports the training package: it is started as a program (`run`), and what it tells is
put into sentences (`told`).
"""
