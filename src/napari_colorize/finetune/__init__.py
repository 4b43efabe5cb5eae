"""Fine-tuning from a front end: a detached training process, followed through its run folder.

Nothing here imports the training package, which runs as a program (`training_run`). Its events are
turned into status messages (`status`) and curves (`curves`).
"""
