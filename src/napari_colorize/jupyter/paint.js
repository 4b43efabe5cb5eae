// Hints painted over the picture: pixels of its size, each with a colour or none at all.
//
// They travel as a PNG, which is small, and which both sides may change. What is drawn is sent
// while the hand still moves, no more often than `LIVE`.

const LIVE = 120; // milliseconds from one sending to the next
const EXACT = { premultiplyAlpha: "none", colorSpaceConversion: "none" };

class Paint {
  /** `tell` is called when strokes were sent. */
  constructor(model, tell) {
    Object.assign(this, { model, tell });
    this.layer = null;
    this.isPending = false; // drawn, and not in the picture yet
    this.isDirty = this.isSending = false;
    this.sent = null;
  }

  /** What the kernel, or another view, has. */
  async read() {
    const sent = this.model.get("paint");
    const [height, width] = this.model.get("size");
    if (!height || !width) {
      this.layer = null;
      return;
    }
    const isOfAnother = this.layer?.canvas.width !== width || this.layer.canvas.height !== height;
    if (!isOfAnother && (sent === this.sent || this.isDirty)) return;
    const image = sent.byteLength
      ? await createImageBitmap(new Blob([sent], { type: "image/png" }), EXACT)
      : null;
    if (sent !== this.model.get("paint")) return; // a newer one is being read
    this.sent = sent;
    this.layer = new Layer([height, width]);
    if (!image) return;
    const { context } = this.layer;
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, width, height);
    this.layer.image = context.getImageData(0, 0, width, height);
    this.layer.rgba = new Uint32Array(this.layer.image.data.buffer);
  }

  /** Colour all pixels within a radius of a line, and those it begins and ends in; null erases. */
  stroke([x, y], [endX, endY], radius, color) {
    if (!this.layer) return;
    const { rgba, canvas } = this.layer;
    const value = color ? packed(color) : 0;
    const left = Math.max(0, Math.floor(Math.min(x, endX) - radius));
    const top = Math.max(0, Math.floor(Math.min(y, endY) - radius));
    const right = Math.min(canvas.width, Math.ceil(Math.max(x, endX) + radius + 1));
    const bottom = Math.min(canvas.height, Math.ceil(Math.max(y, endY) + radius + 1));
    if (left >= right || top >= bottom) return;
    const [dx, dy] = [endX - x, endY - y];
    const length = dx * dx + dy * dy || 1;
    const nearest = Math.max(radius, Math.SQRT1_2) ** 2; // no brush is finer than a pixel
    for (let row = top; row < bottom; row++) {
      for (let column = left; column < right; column++) {
        const [px, py] = [column + 0.5 - x, row + 0.5 - y];
        const along = Math.min(Math.max((px * dx + py * dy) / length, 0), 1);
        if ((px - along * dx) ** 2 + (py - along * dy) ** 2 <= nearest) {
          rgba[row * canvas.width + column] = value;
        }
      }
    }
    this.layer.show(left, top, right - left, bottom - top);
    this.isDirty = this.isPending = true;
    this.send();
  }

  async send() {
    if (this.isSending || !this.isDirty) return;
    this.isSending = true;
    this.isDirty = false;
    const blob = await this.layer.canvas.convertToBlob({ type: "image/png" });
    this.sent = new DataView(await blob.arrayBuffer());
    this.model.set("paint", this.sent);
    this.model.save_changes();
    await new Promise((go) => setTimeout(go, LIVE));
    this.isSending = false;
    this.tell();
    this.send();
  }

  get isUnsent() {
    return this.isDirty || this.isSending;
  }

  /** A picture has come: it has all that was sent. */
  settle() {
    this.isPending = this.isDirty;
  }
}

/** #rrggbb as a pixel of an ImageData. */
function packed(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
}
