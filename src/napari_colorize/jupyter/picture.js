// A plane before and after, as pixels; knows nothing of the screen.

const SENT = ["size", "colors", "correction", "hinted", "strokes", "shadows", "matrix", "bounds"];

/** A picture that is drawn from: a canvas of its own size, and its pixels. */
class Layer {
  constructor([height, width]) {
    this.canvas = new OffscreenCanvas(width, height);
    this.context = this.canvas.getContext("2d");
    this.image = this.context.createImageData(width, height);
    this.rgba = new Uint32Array(this.image.data.buffer);
  }

  /** Draw the pixels, all or those of a part: left, top, width and height. */
  show(...part) {
    this.context.putImageData(this.image, 0, 0, ...part);
  }
}

/** The pixels of a plane before and after. */
class Picture {
  constructor(model) {
    this.model = model;
    this.before = this.after = this.parts = this.kept = null;
    this.plane = null;
    this.isExact = false;
  }

  get size() {
    return this.model.get("size");
  }

  /** Another plane has come, or other colours of the same. */
  read() {
    this.parts = null;
    if (this.plane !== this.model.get("plane")) this.readPlane();
    if (!this.before) return;
    if (!this.model.get("colors").maps) {
      this.after = null;
      return; // a finished picture: it comes as a whole
    }
    const kept = this.model.get("kept");
    this.kept = kept.byteLength ? outside(kept) : null;
    this.parts = prepare({
      gray: this.gray,
      ...Object.fromEntries(
        SENT.map((name) => [name, this.model.get(name)]),
      ),
    });
    this.compose();
  }

  readPlane() {
    this.plane = this.model.get("plane");
    this.before = this.after = this.gray = null;
    const [height, width] = this.size;
    if (!height || !width) return;
    this.gray = new Uint16Array(bytesOf(this.model.get("gray")));
    this.before = new Layer(this.size);
    grayscale(this.gray, this.before.rgba);
    this.before.show();
  }

  compose() {
    if (!this.parts) return;
    this.after ??= new Layer(this.size);
    compose(this.parts, this.model.get("saturation"), this.after.rgba);
    if (this.kept) keep(this.kept, this.after.rgba);
    this.after.show();
    this.isExact = false;
  }

  /** The kernel's own picture: three bytes a pixel. */
  take(rgb) {
    this.after ??= new Layer(this.size);
    const rgba = this.after.rgba;
    for (let at = 0, from = 0; at < rgba.length; at++, from += 3) {
      rgba[at] = 0xff000000 | (rgb[from + 2] << 16) | (rgb[from + 1] << 8) | rgb[from];
    }
    this.after.show();
    this.isExact = true;
  }

  /** The colour of a pixel as #rrggbb. */
  colorAt(x, y) {
    const { rgba, canvas } = this.after ?? this.before;
    const value = rgba[Math.floor(y) * canvas.width + Math.floor(x)];
    const bytes = [value & 255, (value >> 8) & 255, (value >> 16) & 255];
    return `#${bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  }
}
