"""Guides read from layers: hints, a mask, a reference image and regions.

`guide_layers` follows the layers that the user chose. `guide_values` converts them to `Guides` at
the pixels that a session colorizes (`grid`): points, strokes and areas (`scribbles`), painted
labels (`labels`), and images in color. Guides can differ between the planes of a stack:
they are read from copies of the layers (`layer_snapshot`), so that the worker thread can use them
while the user goes on drawing. `guide_panel` has the controls.
"""
