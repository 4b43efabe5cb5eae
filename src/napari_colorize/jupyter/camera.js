// Zoom and pan of the displayed image.

const MAX_ZOOM = 64;

/** Position of the image on the stage: zoom 1 fits; x and y are the center, as fractions. */
class Camera {
  constructor(model, stage) {
    this.model = model;
    this.stage = stage;
    [this.zoom, this.x, this.y] = model.get("camera");
  }

  /** Stage pixels of a position given as fractions of the image's width and height. */
  toStage(x, y) {
    const { clientWidth: width, clientHeight: height } = this.stage;
    return [
      width / 2 + (x - this.x) * width * this.zoom,
      height / 2 + (y - this.y) * height * this.zoom,
    ];
  }

  /** Position under a stage pixel, as fractions of the image's width and height. */
  toImage(left, top) {
    const { clientWidth: width, clientHeight: height } = this.stage;
    return [
      this.x + (left - width / 2) / (width * this.zoom),
      this.y + (top - height / 2) / (height * this.zoom),
    ];
  }

  /** Visible part of the image as fractions: top, left, bottom, right. */
  visible() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    const [first, last] = [this.toImage(0, 0), this.toImage(width, height)];
    return [first[1], first[0], last[1], last[0]].map((edge) => Math.min(Math.max(edge, 0), 1));
  }

  zoomTo(zoom, left, top) {
    if (!this.stage.clientWidth) return; // not laid out yet
    const before = this.toImage(left, top);
    this.zoom = Math.min(Math.max(zoom, 1), MAX_ZOOM);
    const after = this.toImage(left, top);
    this.x += before[0] - after[0];
    this.y += before[1] - after[1];
    this.clamp();
  }

  pan(dx, dy) {
    this.x -= dx / (this.stage.clientWidth * this.zoom);
    this.y -= dy / (this.stage.clientHeight * this.zoom);
    this.clamp();
  }

  fit() {
    [this.zoom, this.x, this.y] = [1, 0.5, 0.5];
  }

  /** Keep the whole stage covered by the image. */
  clamp() {
    const half = 0.5 / this.zoom;
    this.x = Math.min(Math.max(this.x, half), 1 - half);
    this.y = Math.min(Math.max(this.y, half), 1 - half);
  }

  save() {
    this.model.set("camera", [this.zoom, this.x, this.y]);
    this.model.save_changes();
  }
}
