// Composes an image from gray and chroma, as `refine.chroma_field` and `color.add_offset` of the
// Python package do, in two steps: `prepare` computes what does not depend on saturation, `compose`
// the rest.

const TINY = 1e-30; // as in color.py: keeps divisions by a vanishing chroma finite

/** Compute everything that does not depend on saturation, per pixel, in units of 1/255.
 *
 * `data` has what `ImageView` in view.py sends: `chroma`, `correction` and `hinted` are small maps
 * of U and V; `strokes` are pixels with a fixed U and V. The largest saturation inside the gamut is
 * precomputed for all pixels that hints do not reach.
 */
export function prepare(data) {
  const { gray, size, chroma, correction, hinted, strokes, shadows, matrix, bounds } = data;
  const [low, high] = bounds.map((bound) => 255 * bound);
  const y = new Float32Array(gray.length);
  for (let at = 0; at < y.length; at++) y[at] = gray[at] / 257;
  const predicted = upsample(chroma, y, size);
  if (correction.maps) upsample(correction, y, size, predicted);
  if (shadows > 0) dampShadows(predicted, y, 255 * shadows);
  let fixed = null;
  if (hinted.maps || strokes.at) {
    fixed = hinted.maps ? upsample(hinted, y, size) : zeros(y.length);
    if (strokes.at) applyStrokes(strokes, predicted, fixed);
    fixed.at = nonzero(fixed);
  }
  const maxFactor = gamutFactor(y, predicted, matrix, low, high);
  return { y, predicted, maxFactor, fixed, matrix, low, high };
}

/** Indices of pixels with nonzero chroma. */
function nonzero({ u, v }) {
  const at = new Uint32Array(u.length);
  let count = 0;
  for (let pixel = 0; pixel < u.length; pixel++) {
    if (u[pixel] !== 0 || v[pixel] !== 0) at[count++] = pixel;
  }
  return at.subarray(0, count);
}

function zeros(pixels) {
  return { u: new Float32Array(pixels), v: new Float32Array(pixels) };
}

/** U and V of every pixel: slope times gray plus offset, both upsampled bilinearly.
 *
 * `maps` holds int16 maps one after another: U and V of the offset, then U and V of the slope if
 * there is one. `scales` are their units. The result is added to `sum`.
 */
function upsample(field, y, [height, width], sum = zeros(y.length)) {
  const { size: [rows, columns], maps, scales } = field;
  const small = new Int16Array(bytesOf(maps));
  const channels = small.length / (rows * columns);
  const across = interpolation(columns, width);
  const down = interpolation(rows, height);
  const cache = [0, 1].map(() => ({ row: -1, values: new Float32Array(channels * width) }));
  /** One row of all maps, upsampled along columns; two neighboring rows are cached. */
  function cachedRow(row) {
    const entry = cache[row % 2];
    if (entry.row !== row) upsampleRow(small, rows, columns, scales, row, across, entry.values);
    entry.row = row;
    return entry.values;
  }
  for (let row = 0; row < height; row++) {
    const above = cachedRow(down.first[row]);
    const below = cachedRow(down.second[row]);
    addRow(above, below, down.weight[row], y, sum, row * width, width, channels > 2);
  }
  return sum;
}

function upsampleRow(small, rows, columns, scales, row, across, line) {
  const width = across.weight.length;
  for (let channel = 0, to = 0; to < line.length; channel++) {
    const from = (channel * rows + row) * columns;
    const scale = 255 * scales[channel >> 1];
    for (let column = 0; column < width; column++, to++) {
      const left = small[from + across.first[column]];
      const right = small[from + across.second[column]];
      line[to] = scale * (left + across.weight[column] * (right - left));
    }
  }
}

function addRow(above, below, weight, y, { u, v }, at, width, hasSlope) {
  for (let column = 0; column < width; column++, at++) {
    let pu = above[column] + weight * (below[column] - above[column]);
    const vAt = column + width;
    let pv = above[vAt] + weight * (below[vAt] - above[vAt]);
    if (hasSlope) {
      const gray = y[at] / 255;
      const uSlope = column + 2 * width;
      const vSlope = column + 3 * width;
      pu += gray * (above[uSlope] + weight * (below[uSlope] - above[uSlope]));
      pv += gray * (above[vSlope] + weight * (below[vSlope] - above[vSlope]));
    }
    u[at] += pu;
    v[at] += pv;
  }
}

/** Bilinear interpolation: for each target pixel, two source indices and the second's weight. */
function interpolation(short, long) {
  const first = new Int32Array(long);
  const second = new Int32Array(long);
  const weight = new Float32Array(long);
  for (let at = 0; at < long; at++) {
    const position = Math.min(Math.max(((at + 0.5) * short) / long - 0.5, 0), short - 1);
    first[at] = Math.floor(position);
    second[at] = Math.min(first[at] + 1, short - 1);
    weight[at] = position - first[at];
  }
  return { first, second, weight };
}

/** Reduce chroma below a luminance, as `damping.shadow_factor`. */
function dampShadows({ u, v }, y, shadows) {
  for (let at = 0; at < y.length; at++) {
    if (y[at] >= shadows) continue;
    const ratio = y[at] / shadows;
    const factor = ratio * ratio * (3 - 2 * ratio);
    u[at] *= factor;
    v[at] *= factor;
  }
}

/** Set pixels with a fixed chroma; in a reduced image they may cover a part of a pixel. */
function applyStrokes({ at, values }, predicted, fixed) {
  const pixels = new Uint32Array(bytesOf(at));
  const [u, v, coverage] = [0, 1, 2].map((part) =>
    new Float32Array(bytesOf(values)).subarray(part * pixels.length),
  );
  pixels.forEach((pixel, index) => {
    const rest = 1 - coverage[index];
    predicted.u[pixel] *= rest;
    predicted.v[pixel] *= rest;
    fixed.u[pixel] = rest * fixed.u[pixel] + 255 * coverage[index] * u[index];
    fixed.v[pixel] = rest * fixed.v[pixel] + 255 * coverage[index] * v[index];
  });
}

/** The largest factor on U and V that keeps R, G and B within bounds. */
function gamutFactor(y, { u, v }, [ru, rv, gu, gv, bu, bv], low, high) {
  const factor = new Float32Array(y.length);
  for (let at = 0; at < y.length; at++) {
    const r = ru * u[at] + rv * v[at];
    const g = gu * u[at] + gv * v[at];
    const b = bu * u[at] + bv * v[at];
    const up = Math.max(r, g, b, TINY);
    const down = Math.min(r, g, b, -TINY);
    factor[at] = Math.max(0, Math.min((high - y[at]) / up, (low - y[at]) / down));
  }
  return factor;
}

/** Compose RGB: chroma outside the gamut is reduced, luminance is preserved.
 *
 * `rgba` is a Uint32Array over the bytes of an ImageData.
 */
export function compose(parts, saturation, rgba) {
  const { y, predicted: { u, v }, maxFactor, fixed, matrix: [ru, rv, gu, gv, bu, bv] } = parts;
  for (let at = 0; at < rgba.length; at++) {
    const factor = Math.min(maxFactor[at], saturation);
    const pu = factor * u[at];
    const pv = factor * v[at];
    const gray = y[at] + 0.5; // to round
    const r = gray + ru * pu + rv * pv;
    const g = gray + gu * pu + gv * pv;
    const b = gray + bu * pu + bv * pv;
    rgba[at] = 0xff000000 | (b << 16) | (g << 8) | r;
  }
  if (fixed) composeFixed(parts, saturation, rgba);
}

/** Compose pixels that hints reach: saturation does not scale hints, so the gamut is checked here. */
function composeFixed({ y, predicted: { u, v }, fixed, matrix, low, high }, saturation, rgba) {
  const [ru, rv, gu, gv, bu, bv] = matrix;
  const { at: pixels, u: fixedU, v: fixedV } = fixed;
  for (let index = 0; index < pixels.length; index++) {
    const at = pixels[index];
    const pu = saturation * u[at] + fixedU[at];
    const pv = saturation * v[at] + fixedV[at];
    const r = ru * pu + rv * pv;
    const g = gu * pu + gv * pv;
    const b = bu * pu + bv * pv;
    const above = high - y[at];
    const below = low - y[at];
    let factor = 1;
    if (r > above || g > above || b > above) factor = above / Math.max(r, g, b);
    if (r < below || g < below || b < below) {
      factor = Math.min(factor, below / Math.min(r, g, b));
    }
    if (factor < 0) factor = 0;
    const gray = y[at] + 0.5; // to round
    const blue = (gray + factor * b) << 16;
    rgba[at] = 0xff000000 | blue | ((gray + factor * g) << 8) | (gray + factor * r);
  }
}

/** Pixels outside the mask: the image's own colors, and which of them are opaque or partial. */
export function readOutsideMask(bytes) {
  const original = new Uint32Array(bytesOf(bytes));
  const opaque = new Uint32Array(original.length);
  const partial = [];
  let count = 0;
  for (let at = 0; at < original.length; at++) {
    const alpha = original[at] >>> 24;
    if (alpha === 255) opaque[count++] = at;
    else if (alpha) partial.push(at);
  }
  return { original, opaque: opaque.subarray(0, count), partial };
}

/** Restore the image's own pixels outside the mask; pixels on its edge are blended. */
export function restoreOutsideMask({ original, opaque, partial }, rgba) {
  for (let index = 0; index < opaque.length; index++) {
    rgba[opaque[index]] = original[opaque[index]];
  }
  const bytes = new Uint8Array(rgba.buffer, rgba.byteOffset);
  const source = new Uint8Array(original.buffer);
  for (const at of partial) {
    const alpha = source[4 * at + 3] / 255;
    for (let byte = 4 * at; byte < 4 * at + 3; byte++) {
      bytes[byte] += alpha * (source[byte] - bytes[byte]) + 0.5;
    }
  }
}

/** The grayscale image, the same as `compose` with saturation 0. */
export function grayscale(gray, rgba) {
  for (let at = 0; at < rgba.length; at++) {
    const value = (gray[at] / 257 + 0.5) | 0;
    rgba[at] = 0xff000000 | (value << 16) | (value << 8) | value;
  }
}

/** A copy of the bytes of a view, so that typed arrays of any width are aligned. */
function bytesOf(view) {
  return view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
}
