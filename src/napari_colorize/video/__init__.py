"""Films, folders of numbered pictures and image stacks, colorized frame after frame.

`planning` is the door: it looks at what is given and wanted and puts a source and a sink together
(`frame` says what these are). `work` moves frames from one to the other, through the model;
`ledger` remembers how far it has come, so that an interrupted command goes on.

Films: `opening` (the facts), `tones` (what their numbers mean), `decoding`; `coding` (how they are
encoded), `segments` (in pieces), `writing`, `joining` (with sound and all else); `lazy` (a film as
an array). Pictures: `folder`, `stacks`, `zarrs`, `ranges`.
"""
