"""Guiding colours by layers: scribbles, a mask, a picture whose palette is taken over.

`guiding` follows the layers that were chosen; `reading` makes `Guides` of them, for the pixels that
a session colorizes (`grid`): out of dots, strokes and areas (`scribbles`) and of numbers painted
(`labels`), or of a picture in colour (`palette`). Of a stack each plane may have its own: they are
read from layers as they were at one moment (`still`). `panel` is where layers are chosen.
"""
