// Images and maps: slices and contrasts to scroll, values under the pointer.
class Stacks {
  constructor(root, data) {
    this.id = root.id;
    this.stacks = data.map((stack) => ({
      ...stack,
      colours: unpack(stack.colours),
      panels: stack.panels.map((panel) => ({ ...panel, values: unpack(panel) })),
    }));
    this.chosen = this.slice = this.contrast = 0;
    const [, , ny, nx] = this.stack.shape;
    this.voxel = [nx >> 1, ny >> 1];
    this.build(root.querySelector(".live"));
    this.choose(0);
    this.listen();
    root.explorer = this;
  }

  get stack() { return this.stacks[this.chosen]; }

  build(live) {
    const controls = element("div", { class: "controls" });
    this.select = element("select", { "aria-label": "quantity" });
    this.stacks.forEach((stack, i) => this.select.append(element("option", { value: String(i) }, stack.name)));
    if (this.stacks.length > 1) controls.append(element("label", {}, "show ", this.select));
    const slider = (name) => {
      const range = element("input", { type: "range", min: "0", step: "1", "aria-label": name });
      const text = element("span", {});
      const label = element("label", {}, `${name} `, range, text);
      controls.append(label);
      return { range, text, label };
    };
    this.sliceSlider = slider("slice");
    this.contrastSlider = slider("contrast");
    this.canvas = element("canvas", { class: "stack", tabindex: "0", role: "application", "aria-label": "Image: arrow keys move the voxel, Page Up and Page Down the slice, comma and period the contrast" });
    this.curve = element("canvas", { class: "curve", "aria-label": "Value of the voxel over the contrasts" });
    this.output = element("output", { class: "readout", "aria-live": "polite" });
    this.hint = element("p", { class: "hint" });
    live.append(controls, element("div", { class: "wide" }, this.canvas, this.curve), this.output, this.hint);
    this.paint = surface(this.canvas, (context, width, height) => this.draw(context, width, height));
    this.paintCurve = surface(this.curve, (context, width, height) => this.drawCurve(context, width, height));
  }

  choose(index) {
    this.chosen = index;
    const [contrasts, slices, ny, nx] = this.stack.shape;
    this.slice = slices >> 1;
    this.contrast = clamp(this.contrast, 0, contrasts - 1);
    if (this.voxel[0] >= nx || this.voxel[1] >= ny) this.voxel = [nx >> 1, ny >> 1];
    this.sliceSlider.range.max = String(slices - 1);
    this.contrastSlider.range.max = String(contrasts - 1);
    this.sliceSlider.label.hidden = slices < 2;
    this.contrastSlider.label.hidden = contrasts < 2;
    this.curve.hidden = contrasts < 3;
    const [contrastsLeft, slicesLeft] = this.stack.left;
    const left = contrastsLeft || slicesLeft ? ` Left out to keep the page small: ${contrastsLeft} contrasts, ${slicesLeft} slices.` : "";
    this.hint.textContent = "Move the pointer, or click and use the arrow keys · Page Up/Down slice · , and . contrast." + left;
    this.pictures = null;
    this.refresh();
  }

  listen() {
    const canvas = this.canvas;
    const aim = (event) => {
      const box = canvas.getBoundingClientRect();
      const found = this.under(event.clientX - box.left, event.clientY - box.top);
      if (found) { this.voxel = found; this.refresh(); }
    };
    canvas.addEventListener("pointermove", aim);
    canvas.addEventListener("pointerdown", (event) => { aim(event); this.remember(); });
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas) return;
      event.preventDefault();
      this.scroll(event.deltaY > 0 ? 1 : -1);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    this.select.addEventListener("change", () => this.choose(Number(this.select.value)));
    this.sliceSlider.range.addEventListener("input", () => { this.slice = Number(this.sliceSlider.range.value); this.refresh(); });
    this.contrastSlider.range.addEventListener("input", () => { this.contrast = Number(this.contrastSlider.range.value); this.refresh(); });
  }

  scroll(step) {
    const [contrasts, slices] = this.stack.shape;
    if (slices > 1) this.slice = clamp(this.slice + step, 0, slices - 1);
    else this.contrast = clamp(this.contrast + step, 0, contrasts - 1);
    this.refresh();
  }

  key(event) {
    const [contrasts, slices, ny, nx] = this.stack.shape, [x, y] = this.voxel;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const move = moves[event.key];
    if (move) this.voxel = [clamp(x + move[0], 0, nx - 1), clamp(y + move[1], 0, ny - 1)];
    else if (event.key === "PageUp") this.slice = clamp(this.slice + 1, 0, slices - 1);
    else if (event.key === "PageDown") this.slice = clamp(this.slice - 1, 0, slices - 1);
    else if (event.key === ".") this.contrast = clamp(this.contrast + 1, 0, contrasts - 1);
    else if (event.key === ",") this.contrast = clamp(this.contrast - 1, 0, contrasts - 1);
    else return;
    event.preventDefault();
    this.refresh();
    this.remember();
  }

  remember() {
    const place = [this.chosen, this.voxel[0], this.voxel[1], this.slice, this.contrast].join(",");
    try { history.replaceState(null, "", `#${this.id}:${place}`); } catch { /* a page that may not */ }
  }

  // What an address says: stack, x, y, slice, contrast.
  go(text) {
    const [stack, x, y, slice, contrast] = text.split(",").map(Number);
    if (![stack, x, y].every(Number.isInteger) || !this.stacks[stack]) return;
    this.select.value = String(stack);
    this.choose(stack);
    const [contrasts, slices, ny, nx] = this.stack.shape;
    this.voxel = [clamp(x, 0, nx - 1), clamp(y, 0, ny - 1)];
    if (Number.isInteger(slice)) this.slice = clamp(slice, 0, slices - 1);
    if (Number.isInteger(contrast)) this.contrast = clamp(contrast, 0, contrasts - 1);
    this.refresh();
  }

  value(panel, x, y, slice, contrast) {
    const [, slices, ny, nx] = this.stack.shape;
    const whole = panel.values[((contrast * slices + slice) * ny + y) * nx + x];
    return whole === 65535 ? NaN : panel.low + panel.step * whole;
  }

  refresh() {
    const { stack, voxel: [x, y], slice, contrast } = this;
    const [, , ny, nx] = stack.shape;
    this.sliceSlider.range.value = String(slice);
    this.sliceSlider.text.textContent = ` ${stack.slices[slice] + 1}`;
    this.contrastSlider.range.value = String(contrast);
    this.contrastSlider.text.textContent = ` ${stack.captions[contrast]}`;
    const shift = [(x - (nx >> 1)) * stack.spacing[0], (y - (ny >> 1)) * stack.spacing[1]];
    const facts = [["voxel", `${x}, ${y}`], ["at", `${fixed(shift[0], 1)}, ${fixed(shift[1], 1)} mm`]];
    const values = stack.panels.map((panel) => this.value(panel, x, y, slice, contrast));
    stack.panels.forEach((panel, i) => facts.push([panel.name, `${digits(values[i])} ${stack.unit}`.trim()]));
    if (values.length === 2 && values.every(Number.isFinite)) {
      facts.push(["difference", `${digits(values[0] - values[1], 3)} ${stack.unit}`.trim()]);
    }
    this.output.innerHTML = "";
    for (const [name, value] of facts) this.output.append(element("span", {}, element("b", {}, name), ` ${value}`), " ");
    if (this.paint) { this.paint(); if (!this.curve.hidden) this.paintCurve(); }
  }

  // Picture of a panel with a pixel for each voxel; row 0 at the bottom.
  picture(panel) {
    const { stack, slice, contrast } = this, [, , ny, nx] = stack.shape, [low, high] = stack.range;
    const canvas = element("canvas", { width: String(nx), height: String(ny) });
    const context = canvas.getContext("2d"), image = context.createImageData(nx, ny);
    for (let y = 0; y < ny; y++) for (let x = 0; x < nx; x++) {
      const value = this.value(panel, x, y, slice, contrast), at = 4 * ((ny - 1 - y) * nx + x);
      const level = Number.isFinite(value) ? 3 * clamp(Math.round(255 * (value - low) / (high - low)), 0, 255) : -1;
      for (let i = 0; i < 3; i++) image.data[at + i] = level < 0 ? 241 : stack.colours[level + i];
      image.data[at + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  layout(width, height) {
    const { stack } = this, [, , ny, nx] = stack.shape, count = stack.panels.length;
    const wide = nx * stack.spacing[0], tall = ny * stack.spacing[1];
    const unit = Math.min((width - 70) / (wide * count + 8 * (count - 1)), (height - 22) / tall);
    return stack.panels.map((_, i) => ({ left: i * (wide * unit + 8), top: 18, width: wide * unit, height: tall * unit }));
  }

  under(px, py) {
    const [, , ny, nx] = this.stack.shape;
    for (const box of this.layout(this.canvas.clientWidth, this.canvas.clientHeight)) {
      const x = Math.floor((px - box.left) / box.width * nx), y = ny - 1 - Math.floor((py - box.top) / box.height * ny);
      if (x >= 0 && x < nx && y >= 0 && y < ny) return [x, y];
    }
    return null;
  }

  draw(context, width, height) {
    const { stack, voxel: [x, y] } = this, [, , ny, nx] = stack.shape, boxes = this.layout(width, height);
    const key = [this.chosen, this.slice, this.contrast].join();
    if (!this.pictures || this.pictures.key !== key) this.pictures = { key, all: stack.panels.map((panel) => this.picture(panel)) };
    context.imageSmoothingEnabled = false;
    boxes.forEach((box, i) => {
      context.drawImage(this.pictures.all[i], box.left, box.top, box.width, box.height);
      context.fillStyle = INK;
      context.textBaseline = "top";
      context.fillText(stack.panels[i].name, box.left + 2, 2);
      const cx = box.left + (x + 0.5) * box.width / nx, cy = box.top + (ny - y - 0.5) * box.height / ny;
      for (const [colour, thick] of [["#ffffff", 3], [VERMILION, 1.5]]) {
        context.strokeStyle = colour;
        context.lineWidth = thick;
        context.beginPath();
        for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
          context.moveTo(cx + 4 * dx, cy + 4 * dy); context.lineTo(cx + 12 * dx, cy + 12 * dy);
        }
        context.stroke();
      }
    });
    this.drawBar(context, boxes[boxes.length - 1]);
  }

  drawBar(context, box) {
    const { colours, range: [low, high], unit } = this.stack, left = box.left + box.width + 8;
    for (let i = 0; i < box.height; i++) {
      const level = 3 * Math.round(255 * (1 - i / box.height));
      context.fillStyle = `rgb(${colours[level]},${colours[level + 1]},${colours[level + 2]})`;
      context.fillRect(left, box.top + i, 10, 1.5);
    }
    context.fillStyle = SOFT;
    context.textBaseline = "top";
    context.fillText(digits(high, 3), left + 13, box.top);
    context.fillText(unit, left + 13, box.top + 15);
    context.textBaseline = "bottom";
    context.fillText(digits(low, 3), left + 13, box.top + box.height);
  }

  drawCurve(context, width, height) {
    const { stack, voxel: [x, y], slice } = this, n = stack.shape[0], panel = stack.panels[0];
    const values = Array.from({ length: n }, (_, i) => this.value(panel, x, y, slice, i));
    const most = Math.max(stack.range[1], ...values.filter(Number.isFinite)) || 1;
    const place = (i) => [40 + (width - 56) * i / (n - 1), height - 30 - (height - 50) * values[i] / most];
    context.strokeStyle = LINE;
    context.strokeRect(40, 20, width - 56, height - 50);
    context.strokeStyle = context.fillStyle = BLUE;
    context.lineWidth = 1.5;
    context.beginPath();
    for (let i = 0; i < n; i++) context.lineTo(...place(i));
    context.stroke();
    for (let i = 0; i < n; i++) { context.beginPath(); context.arc(...place(i), i === this.contrast ? 5 : 2.5, 0, 7); context.fill(); }
    context.fillStyle = SOFT;
    context.textAlign = "left"; context.textBaseline = "top";
    context.fillText(`voxel ${x}, ${y} over the contrasts`, 40, 2);
    context.fillText(stack.captions[0], 40, height - 24);
    context.textAlign = "right";
    context.fillText(digits(most, 3), 36, 20);
    context.fillText("0", 36, height - 40);
    context.fillText(stack.captions[n - 1], width - 8, height - 24);
  }
}
