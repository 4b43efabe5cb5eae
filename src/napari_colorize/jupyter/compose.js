// What the kernel sent, put together: `refine.tint` and `color.add_offset` of napari_colorize, in
// two halves. `prepare` does what is the same for all saturations, `compose` the rest.

const TINY = 1e-30; // as in color.py: keeps divisions by a vanishing chroma finite

/** What is the same for all saturations, pixel by pixel, in 255ths.
 *
 * `sent` has what `View` in view.py sends: `colors`, `correction` and `hinted` are small maps of U
 * and V, `strokes` pixels whose U and V are given. How much saturation a pixel has room for is known
 * beforehand, but for the pixels that hints reach.
 */
export function prepare(sent) {
  const { gray, size, colors, correction, hinted, strokes, shadows, matrix, bounds } = sent;
  const [low, high] = bounds.map((bound) => 255 * bound);
  const y = new Float32Array(gray.length);
  for (let at = 0; at < y.length; at++) y[at] = gray[at] / 257;
  const predicted = enlarged(colors, y, size);
  if (correction.maps) enlarged(correction, y, size, predicted);
  if (shadows > 0) fade(predicted, y, 255 * shadows);
  let given = null;
  if (hinted.maps || strokes.at) {
    given = hinted.maps ? enlarged(hinted, y, size) : blank(y.length);
    if (strokes.at) lay(strokes, predicted, given);
    given.at = reached(given);
  }
  return { y, predicted, most: room(y, predicted, matrix, low, high), given, matrix, low, high };
}

/** The pixels that have any of it. */
function reached({ u, v }) {
  const at = new Uint32Array(u.length);
  let count = 0;
  for (let pixel = 0; pixel < u.length; pixel++) {
    if (u[pixel] !== 0 || v[pixel] !== 0) at[count++] = pixel;
  }
  return at.subarray(0, count);
}

function blank(pixels) {
  return { u: new Float32Array(pixels), v: new Float32Array(pixels) };
}

/** U and V of every pixel: slope times gray plus offset, both enlarged bilinearly.
 *
 * `maps` holds them one after another as 16-bit numbers: U and V of the offset, then, unless it is
 * 0 everywhere, of the slope. `scales` are their units. Added to what `sum` holds.
 */
function enlarged(field, y, [height, width], sum = blank(y.length)) {
  const { size: [rows, columns], maps, scales } = field;
  const small = new Int16Array(bytesOf(maps));
  const channels = small.length / (rows * columns);
  const across = places(columns, width);
  const down = places(rows, height);
  const lines = [0, 1].map(() => ({ row: -1, values: new Float32Array(channels * width) }));
  /** A row of all maps with its columns enlarged; of two rows side by side both are kept. */
  function line(row) {
    const kept = lines[row % 2];
    if (kept.row !== row) widen(small, rows, columns, scales, row, across, kept.values);
    kept.row = row;
    return kept.values;
  }
  for (let row = 0; row < height; row++) {
    const above = line(down.first[row]);
    const below = line(down.second[row]);
    join(above, below, down.share[row], y, sum, row * width, width, channels > 2);
  }
  return sum;
}

function widen(small, rows, columns, scales, row, across, line) {
  const width = across.share.length;
  for (let channel = 0, to = 0; to < line.length; channel++) {
    const from = (channel * rows + row) * columns;
    const scale = 255 * scales[channel >> 1];
    for (let column = 0; column < width; column++, to++) {
      const left = small[from + across.first[column]];
      const right = small[from + across.second[column]];
      line[to] = scale * (left + across.share[column] * (right - left));
    }
  }
}

function join(above, below, share, y, { u, v }, at, width, isSloped) {
  for (let column = 0; column < width; column++, at++) {
    let pu = above[column] + share * (below[column] - above[column]);
    const other = column + width;
    let pv = above[other] + share * (below[other] - above[other]);
    if (isSloped) {
      const light = y[at] / 255;
      const slope = column + 2 * width;
      const last = column + 3 * width;
      pu += light * (above[slope] + share * (below[slope] - above[slope]));
      pv += light * (above[last] + share * (below[last] - above[last]));
    }
    u[at] += pu;
    v[at] += pv;
  }
}

/** For each pixel of a longer side: its two neighbours on the shorter one, and the second's share. */
function places(short, long) {
  const first = new Int32Array(long);
  const second = new Int32Array(long);
  const share = new Float32Array(long);
  for (let at = 0; at < long; at++) {
    const place = Math.min(Math.max(((at + 0.5) * short) / long - 0.5, 0), short - 1);
    first[at] = Math.floor(place);
    second[at] = Math.min(first[at] + 1, short - 1);
    share[at] = place - first[at];
  }
  return { first, second, share };
}

/** Colours fade out below a luminance, as `taming.shadow_factor` has it. */
function fade({ u, v }, y, shadows) {
  for (let at = 0; at < y.length; at++) {
    if (y[at] >= shadows) continue;
    const share = y[at] / shadows;
    const factor = share * share * (3 - 2 * share);
    u[at] *= factor;
    v[at] *= factor;
  }
}

/** Pixels whose colour is given; where the picture is shown smaller, of a part of a pixel. */
function lay({ at, values }, predicted, given) {
  const pixels = new Uint32Array(bytesOf(at));
  const [u, v, share] = [0, 1, 2].map((part) =>
    new Float32Array(bytesOf(values)).subarray(part * pixels.length),
  );
  pixels.forEach((pixel, place) => {
    const left = 1 - share[place];
    predicted.u[pixel] *= left;
    predicted.v[pixel] *= left;
    given.u[pixel] = left * given.u[pixel] + 255 * share[place] * u[place];
    given.v[pixel] = left * given.v[pixel] + 255 * share[place] * v[place];
  });
}

/** The largest factor on U and V that keeps R, G and B within bounds. */
function room(y, { u, v }, [ru, rv, gu, gv, bu, bv], low, high) {
  const most = new Float32Array(y.length);
  for (let at = 0; at < y.length; at++) {
    const r = ru * u[at] + rv * v[at];
    const g = gu * u[at] + gv * v[at];
    const b = bu * u[at] + bv * v[at];
    const up = Math.max(r, g, b, TINY);
    const down = Math.min(r, g, b, -TINY);
    most[at] = Math.max(0, Math.min((high - y[at]) / up, (low - y[at]) / down));
  }
  return most;
}

/** Colour every pixel: chroma gives way where RGB has no such colour, luminance stays.
 *
 * `rgba` is a Uint32Array over the bytes of an ImageData.
 */
export function compose(parts, saturation, rgba) {
  const { y, predicted: { u, v }, most, given, matrix: [ru, rv, gu, gv, bu, bv] } = parts;
  for (let at = 0; at < rgba.length; at++) {
    const factor = Math.min(most[at], saturation);
    const pu = factor * u[at];
    const pv = factor * v[at];
    const light = y[at] + 0.5; // to round
    const r = light + ru * pu + rv * pv;
    const g = light + gu * pu + gv * pv;
    const b = light + bu * pu + bv * pv;
    rgba[at] = 0xff000000 | (b << 16) | (g << 8) | r;
  }
  if (given) composeGiven(parts, saturation, rgba);
}

/** Where hints reach: they are added as they are, so room for saturation is another each time. */
function composeGiven({ y, predicted: { u, v }, given, matrix, low, high }, saturation, rgba) {
  const [ru, rv, gu, gv, bu, bv] = matrix;
  const { at: reached, u: givenU, v: givenV } = given;
  for (let place = 0; place < reached.length; place++) {
    const at = reached[place];
    const pu = saturation * u[at] + givenU[at];
    const pv = saturation * v[at] + givenV[at];
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
    const light = y[at] + 0.5; // to round
    const blue = (light + factor * b) << 16;
    rgba[at] = 0xff000000 | blue | ((light + factor * g) << 8) | (light + factor * r);
  }
}

/** What a mask leaves as it was: the image's own pixels, and which are whole or shared. */
export function outside(kept) {
  const own = new Uint32Array(bytesOf(kept));
  const whole = new Uint32Array(own.length);
  const shared = [];
  let count = 0;
  for (let at = 0; at < own.length; at++) {
    const share = own[at] >>> 24;
    if (share === 255) whole[count++] = at;
    else if (share) shared.push(at);
  }
  return { own, whole: whole.subarray(0, count), shared };
}

/** Put them in the place of others; along the mask's edge, where pixels are shared, in part. */
export function keep({ own, whole, shared }, rgba) {
  for (let place = 0; place < whole.length; place++) rgba[whole[place]] = own[whole[place]];
  const bytes = new Uint8Array(rgba.buffer, rgba.byteOffset);
  const others = new Uint8Array(own.buffer);
  for (const at of shared) {
    const share = others[4 * at + 3] / 255;
    for (let byte = 4 * at; byte < 4 * at + 3; byte++) {
      bytes[byte] += share * (others[byte] - bytes[byte]) + 0.5;
    }
  }
}

/** The gray picture, as `compose` at no saturation. */
export function grayscale(gray, rgba) {
  for (let at = 0; at < rgba.length; at++) {
    const light = (gray[at] / 257 + 0.5) | 0;
    rgba[at] = 0xff000000 | (light << 16) | (light << 8) | light;
  }
}

/** A buffer of its own, so that numbers of any width may start at its first byte. */
function bytesOf(view) {
  return view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
}
