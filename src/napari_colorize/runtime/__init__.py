"""Access to the machine.

- `devices`: choice of device and precision;
- `memory`: available memory, and retries when it is exhausted;
- `forking`: locks that are free in forked processes;
- `claims`: locks on files that several processes could write;
- `atomic`: files that appear under their name only when they are complete;
- `reader_writer`: threads that read ahead and write behind the caller.
"""
