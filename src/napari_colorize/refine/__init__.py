"""Refinement of predicted chrominance before composition: functions of their arguments.

`apply` runs the steps in order: `blend` (second model), `palette_transfer` (reference image),
`damping` (shadows, hues), `edges` (edge-aware upsampling), `hints` with `propagation`. The result
is a `chroma_field.ChromaLayers`, which is composed at any size. `guides` holds what the user
gives: mask, hints, reference. `temporal` is one step of temporal smoothing along a sequence.
"""
