// Images and maps: slices and contrasts to scroll, values under the pointer.
const GAP = 16, ABOVE = 20, BELOW = 34, HIGHEST = 400; // around the panels, and the most of one, in CSS pixels

class Stacks {
  constructor(root, data) {
    this.id = root.id;
    this.stacks = data.map((stack) => ({
      ...stack,
      colours: unpack(stack.colours),
      panels: stack.panels.map((panel) => ({ ...panel, values: unpack(panel), range: stack.range, unit: stack.unit })),
    }));
    for (const stack of this.stacks) {
      const { difference, panels } = stack;
      for (const panel of panels) panel.colours = stack.colours;
      if (difference) panels.push({ ...difference, name: "difference", colours: unpack(difference.colours), of: panels.slice(0, 2) });
    }
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
    this.canvas = element("canvas", { class: "stack", tabindex: "0", role: "application", "aria-label": `${this.id}: arrow keys move the voxel, Page Up and Page Down the slice, comma and period the contrast` });
    this.curve = element("canvas", { class: "curve", role: "img", "aria-label": "Value of the voxel over the contrasts" });
    this.output = element("output", { class: "readout", "aria-live": "polite" });
    this.hint = element("p", { class: "hint" });
    this.wide = element("div", { class: "wide" }, this.canvas, this.curve);
    live.append(controls, this.wide, this.output, this.hint);
    new ResizeObserver(() => this.fit()).observe(this.wide);
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
    const slice = slices > 1 ? " · Page Up/Down slice" : "", contrast = contrasts > 1 ? " · , and . contrast" : "";
    this.hint.textContent = `Move the pointer, or click and use the arrow keys${slice}${contrast}.${left}`;
    this.pictures = null;
    this.fit();
    this.refresh();
  }

  // As wide as the pictures need, and as high.
  fit() {
    const room = this.wide.clientWidth;
    if (!room) return;
    const beside = this.curve.hidden || room < 640 ? room : room - 280, boxes = this.layout(beside);
    const right = Math.max(...boxes.map((box) => box.left + box.width));
    const low = Math.max(...boxes.map((box) => box.top + box.height + BELOW));
    this.canvas.style.width = `${Math.ceil(right)}px`;
    this.canvas.style.height = `${Math.ceil(low)}px`;
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
    if (panel.of) {
      const [found, truth] = panel.of.map((one) => this.value(one, x, y, slice, contrast));
      return panel.relative ? 100 * (found - truth) / truth : found - truth;
    }
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
    for (const panel of stack.panels) {
      const value = this.value(panel, x, y, slice, contrast);
      facts.push([panel.name, panel.of ? `${value > 0 ? "+" : ""}${digits(value, 3)} ${panel.unit}`.trim() : `${digits(value)} ${panel.unit}`.trim()]);
    }
    this.output.innerHTML = "";
    for (const [name, value] of facts) this.output.append(element("span", {}, element("b", {}, name), ` ${value}`), " ");
    if (this.paint) { this.paint(); if (!this.curve.hidden) this.paintCurve(); }
  }

  // Picture of a panel with a pixel for each voxel; row 0 at the bottom.
  picture(panel) {
    const { stack, slice, contrast } = this, [, , ny, nx] = stack.shape, { range: [low, high], colours } = panel;
    const canvas = element("canvas", { width: String(nx), height: String(ny) });
    const context = canvas.getContext("2d"), image = context.createImageData(nx, ny);
    for (let y = 0; y < ny; y++) for (let x = 0; x < nx; x++) {
      const value = this.value(panel, x, y, slice, contrast), at = 4 * ((ny - 1 - y) * nx + x);
      const level = Number.isFinite(value) ? 3 * clamp(Math.round(255 * (value - low) / (high - low)), 0, 255) : -1;
      for (let i = 0; i < 3; i++) image.data[at + i] = level < 0 ? 241 : colours[level + i];
      image.data[at + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  layout(width) {
    const { stack } = this, [, , ny, nx] = stack.shape, count = stack.panels.length;
    const wide = nx * stack.spacing[0], tall = ny * stack.spacing[1], columns = width < 520 ? Math.min(count, 2) : count;
    const unit = Math.min((width - GAP * (columns - 1)) / (wide * columns), HIGHEST / tall);
    return stack.panels.map((_, i) => ({
      left: (i % columns) * (wide * unit + GAP), top: ABOVE + Math.floor(i / columns) * (tall * unit + ABOVE + BELOW),
      width: wide * unit, height: tall * unit,
    }));
  }

  under(px, py) {
    const [, , ny, nx] = this.stack.shape;
    for (const box of this.layout(this.canvas.clientWidth)) {
      const x = Math.floor((px - box.left) / box.width * nx), y = ny - 1 - Math.floor((py - box.top) / box.height * ny);
      if (x >= 0 && x < nx && y >= 0 && y < ny) return [x, y];
    }
    return null;
  }

  draw(context, width, height) {
    const { stack, voxel: [x, y] } = this, [, , ny, nx] = stack.shape, boxes = this.layout(width);
    const key = [this.chosen, this.slice, this.contrast].join();
    if (!this.pictures || this.pictures.key !== key) this.pictures = { key, all: stack.panels.map((panel) => this.picture(panel)) };
    context.imageSmoothingEnabled = false;
    boxes.forEach((box, i) => {
      context.drawImage(this.pictures.all[i], box.left, box.top, box.width, box.height);
      context.fillStyle = INK;
      context.textAlign = "left";
      context.textBaseline = "bottom";
      context.fillText(stack.panels[i].name, box.left, box.top - 4);
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
    boxes.forEach((box, i) => this.drawBar(context, box, stack.panels[i]));
  }

  // Colours beneath a panel, from low to high.
  drawBar(context, box, { colours, range: [low, high], unit }) {
    const top = box.top + box.height + 6;
    for (let i = 0; i < box.width; i++) {
      const level = 3 * Math.round(255 * i / box.width);
      context.fillStyle = `rgb(${colours[level]},${colours[level + 1]},${colours[level + 2]})`;
      context.fillRect(box.left + i, top, 1.5, 8);
    }
    context.strokeStyle = LINE;
    context.lineWidth = 1;
    context.strokeRect(box.left + 0.5, top + 0.5, box.width, 7);
    context.fillStyle = SOFT;
    context.textBaseline = "top";
    context.textAlign = "left";
    context.fillText(digits(low, 3), box.left, top + 11);
    context.textAlign = "right";
    context.fillText(`${digits(high, 3)} ${unit}`.trim(), box.left + box.width, top + 11);
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
