// The sequence over time, its k-space and the magnetisation, with one cursor.
const ROWS = [
  { name: "RF", unit: "µT", share: 1.1, colour: BLUE },
  { name: "Gx", unit: "mT/m", share: 1, colour: GREEN, axis: "gx" },
  { name: "Gy", unit: "mT/m", share: 1, colour: ORANGE, axis: "gy" },
  { name: "Gz", unit: "mT/m", share: 1, colour: VERMILION, axis: "gz" },
  { name: "ADC", unit: "", share: 0.4, colour: INK },
  { name: "M", unit: "1", share: 1.5, colour: BLUE },
];
const MARGIN = { left: 62, right: 8, top: 4, bottom: 30 };
const DENSE = 1500; // blocks in view beyond which only what they reach is drawn

class Timeline {
  constructor(root, data) {
    this.events = new Events(data);
    this.magnetisation = new Magnetisation(data.magnetisation);
    this.home = data.view;
    [this.t0, this.t1] = this.home;
    this.cursor = this.t0;
    this.id = root.id;
    this.tissue = 0;
    this.rows = ROWS.filter((row) => row.name !== "M" || this.magnetisation.known);
    this.limits();
    this.build(root.querySelector(".live"), data);
    this.listen();
    this.place(this.cursor);
    root.explorer = this;
  }

  limits() {
    const events = this.events;
    this.gradient = 1e-9;
    this.field = 1e-9;
    for (let b = 0; b < events.count; b++) {
      for (const axis of ["gx", "gy", "gz"]) {
        const ends = events.peaks(axis, b);
        if (ends) this.gradient = Math.max(this.gradient, -ends[0], ends[1]);
      }
      if (events.column.rf[b] >= 0) this.field = Math.max(this.field, events.rf.amplitude[events.column.rf[b]]);
    }
  }

  build(live, data) {
    this.canvas = element("canvas", {
      class: "timeline", tabindex: "0", role: "application",
      "aria-label": `Sequence ${data.name}: arrow keys move the cursor, plus and minus zoom`,
    });
    this.kCanvas = element("canvas", { class: "kspace", role: "img", "aria-label": "k-space with the point at the cursor" });
    this.output = element("output", { class: "readout", "aria-live": "polite" });
    const side = element("div", { class: "side" }, this.kCanvas);
    if (this.magnetisation.known) {
      this.select = element("select", {});
      this.magnetisation.tissues.forEach((tissue, i) => this.select.append(element("option", { value: String(i) }, tissue.name)));
      side.append(element("label", {}, "magnetisation of ", this.select));
    }
    const buttons = element("div", { class: "buttons", role: "group", "aria-label": `view of ${data.name}` });
    for (const [text, label, act] of this.actions()) {
      const button = element("button", { type: "button", "aria-label": label, title: label }, text);
      button.addEventListener("click", () => { act(); this.remember(); });
      buttons.append(button);
    }
    const help = "Click, then: ← → move the cursor · Shift ← → a block · + − or wheel zoom · drag or Ctrl ← → pan · Home first view · End all";
    const note = data.shown < data.total ? ` Holds the first ${digits(data.shown)} s of ${digits(data.total)} s.` : "";
    live.append(element("div", { class: "controls" }, buttons), element("div", { class: "wide" }, this.canvas, side), this.output, element("p", { class: "hint" }, help + "." + note));
    this.prepareSpace();
    this.paint = surface(this.canvas, (context, width, height) => this.draw(context, width, height));
    this.paintSpace = surface(this.kCanvas, (context, width, height) => this.drawSpace(context, width, height));
  }

  // What the keys do, for a hand without keys.
  actions() {
    const about = () => (this.cursor < this.t0 || this.cursor > this.t1 ? (this.t0 + this.t1) / 2 : this.cursor);
    return [
      ["◀", "block before", () => this.step(-1)],
      ["▶", "next block", () => this.step(1)],
      ["+", "zoom in", () => this.zoom(0.5, about())],
      ["−", "zoom out", () => this.zoom(2, about())],
      ["first view", "first view", () => this.start()],
      ["all", "whole sequence", () => this.show(0, this.events.end)],
    ];
  }

  start() { this.show(...this.home); this.place(this.home[0]); }

  listen() {
    const canvas = this.canvas;
    const time = (event) => this.time(event.clientX - canvas.getBoundingClientRect().left);
    let grabbed = null;
    canvas.addEventListener("pointerdown", (event) => {
      grabbed = { x: event.clientX, t0: this.t0, t1: this.t1, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!grabbed) { if (event.pointerType === "mouse") this.place(time(event)); return; }
      const shift = event.clientX - grabbed.x;
      if (Math.abs(shift) > 4) grabbed.moved = true;
      if (grabbed.moved) this.show(grabbed.t0 - shift / this.scale(), grabbed.t1 - shift / this.scale());
    });
    canvas.addEventListener("pointerup", (event) => {
      if (grabbed && !grabbed.moved) { this.place(time(event)); this.remember(); }
      grabbed = null;
    });
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.25 : 0.8, time(event));
    }, { passive: false });
    canvas.addEventListener("dblclick", (event) => this.zoom(0.4, time(event)));
    canvas.addEventListener("keydown", (event) => this.key(event));
    if (this.select) this.select.addEventListener("change", () => { this.tissue = Number(this.select.value); this.refresh(); });
  }

  key(event) {
    const sign = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    const span = this.t1 - this.t0;
    if (sign && event.ctrlKey) this.show(this.t0 + sign * span / 4, this.t1 + sign * span / 4);
    else if (sign && event.shiftKey) this.step(sign);
    else if (sign) this.place(this.cursor + sign * span / 200);
    else if (event.key === "+" || event.key === "=") this.zoom(0.5, this.cursor);
    else if (event.key === "-") this.zoom(2, this.cursor);
    else if (event.key === "Home") this.start();
    else if (event.key === "End") this.show(0, this.events.end);
    else return;
    event.preventDefault();
    if (sign && !event.ctrlKey) this.reveal();
    this.remember();
  }

  step(sign) {
    const b = clamp(this.events.block(this.cursor + 1e-9) + sign, 0, this.events.count - 1);
    this.place(this.events.starts[b]);
    this.reveal();
  }

  // The cursor in the middle of the view, where it has left it.
  reveal() {
    const span = this.t1 - this.t0;
    if (this.cursor < this.t0 || this.cursor > this.t1) this.show(this.cursor - span / 2, this.cursor + span / 2);
  }

  remember() {
    try { history.replaceState(null, "", `#${this.id}:${fixed(this.cursor * 1e3, 4)}`); } catch { /* a page that may not */ }
  }

  // What an address says: the time in ms.
  go(text) {
    const t = Number(text) * 1e-3, span = this.t1 - this.t0;
    if (!Number.isFinite(t)) return;
    if (t < this.t0 || t > this.t1) this.show(t - span / 2, t + span / 2);
    this.place(t);
  }

  zoom(factor, about) {
    this.show(about + (this.t0 - about) * factor, about + (this.t1 - about) * factor);
  }

  show(t0, t1) {
    const span = clamp(t1 - t0, 2e-5, this.events.end);
    this.t0 = clamp(t0, 0, this.events.end - span);
    this.t1 = this.t0 + span;
    this.paint();
  }

  place(t) {
    this.cursor = clamp(t, 0, this.events.end);
    this.refresh();
  }

  refresh() {
    this.output.innerHTML = "";
    for (const [name, value] of this.facts()) {
      this.output.append(element("span", {}, element("b", {}, name), ` ${value}`), " ");
    }
    if (this.paint) { this.paint(); this.paintSpace(); }
  }

  facts() {
    const events = this.events, t = this.cursor, b = events.block(t), local = t - events.starts[b];
    const facts = [["time", `${fixed(t * 1e3, 3)} ms`], ["block", events.data.names[events.column.name[b]] || String(b)]];
    const pulse = events.envelope(b), readout = events.readout(b);
    if (pulse) {
      const angle = `${digits(events.rf.flip[pulse.event])}° pulse, phase ${digits(events.rf.phase[pulse.event])}°`;
      facts.push(["RF", `${fixed(Events.at(pulse, local), 2)} µT (${angle})`]);
    }
    const gradient = ["gx", "gy", "gz"].map((axis) => {
      const curve = events.corners(axis, b);
      return fixed(curve ? Events.at(curve, local) : 0, 2);
    });
    facts.push(["G", `${gradient.join(", ")} mT/m`], ["k", `${events.k(t).map((value) => fixed(value, 1)).join(", ")} 1/m`]);
    if (readout) {
      const n = Math.floor((local - readout.delay) / readout.dwell) + 1;
      if (n >= 1 && n <= readout.samples) facts.push(["sample", `${n} of ${readout.samples}`]);
    }
    const m = this.magnetisation.at(this.tissue, t);
    if (m) {
      const across = Math.hypot(m[0], m[1]), angle = Math.atan2(m[1], m[0]) * 180 / Math.PI;
      facts.push([this.magnetisation.tissues[this.tissue].name, `|Mxy| ${fixed(across, 3)} at ${fixed(angle, 0)}°, Mz ${fixed(m[2], 3)}`]);
    }
    return facts;
  }

  scale() { return (this.canvas.clientWidth - MARGIN.left - MARGIN.right) / (this.t1 - this.t0); }
  x(t) { return MARGIN.left + (t - this.t0) * this.scale(); }
  time(x) { return this.t0 + (x - MARGIN.left) / this.scale(); }

  draw(context, width, height) {
    const total = this.rows.reduce((sum, row) => sum + row.share, 0);
    const usable = height - MARGIN.top - MARGIN.bottom;
    const b0 = this.events.block(this.t0), b1 = this.events.block(this.t1);
    let top = MARGIN.top;
    for (const row of this.rows) {
      const box = { top, bottom: top + usable * row.share / total - 6, width };
      this.label(context, row, box);
      context.save();
      context.beginPath();
      context.rect(MARGIN.left, box.top, width - MARGIN.left - MARGIN.right, box.bottom - box.top);
      context.clip();
      if (row.name === "ADC") this.drawReadouts(context, box, b0, b1);
      else if (row.name === "M") this.drawMagnetisation(context, box);
      else this.drawCurves(context, row, box, b0, b1);
      context.restore();
      top += usable * row.share / total;
    }
    this.ticks(context, width, height);
    const x = this.x(this.cursor);
    if (x >= MARGIN.left && x <= width - MARGIN.right) {
      context.strokeStyle = INK;
      context.lineWidth = 1;
      context.beginPath(); context.moveTo(x, MARGIN.top); context.lineTo(x, height - MARGIN.bottom); context.stroke();
    }
  }

  label(context, row, box) {
    const middle = (box.top + box.bottom) / 2;
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillStyle = INK;
    context.fillText(row.name, 30, middle);
    context.fillStyle = SOFT;
    const ends = row.name === "RF" ? [this.field, null] : row.axis ? [this.gradient, -this.gradient] : row.name === "M" ? [1, -1] : [null, null];
    context.font = '10px system-ui, "DejaVu Sans", sans-serif';
    if (ends[0] !== null) context.fillText(digits(ends[0], 3), MARGIN.left - 4, box.top + 8);
    if (ends[1] !== null) context.fillText(digits(ends[1], 3), MARGIN.left - 4, box.bottom - 8);
    if (row.unit && row.name !== "M") context.fillText(row.unit, 30, middle + 13);
    context.font = '12px system-ui, "DejaVu Sans", sans-serif';
    context.strokeStyle = LINE;
    context.beginPath();
    const y = row.name === "RF" || row.name === "ADC" ? box.bottom : middle;
    context.moveTo(MARGIN.left, y); context.lineTo(box.width - MARGIN.right, y); context.stroke();
  }

  drawCurves(context, row, box, b0, b1) {
    const zero = row.axis ? (box.top + box.bottom) / 2 : box.bottom;
    const reach = row.axis ? 0.48 * (box.bottom - box.top) / this.gradient : 0.95 * (box.bottom - box.top) / this.field;
    context.strokeStyle = row.colour;
    context.fillStyle = row.colour + "2e";
    context.lineWidth = 1.3;
    const dense = b1 - b0 > DENSE;
    context.beginPath();
    for (let b = b0; b <= b1; b++) {
      const curve = row.axis ? this.events.corners(row.axis, b) : this.events.envelope(b);
      if (!curve) continue;
      if (dense) {
        const ends = row.axis ? this.events.peaks(row.axis, b) : [0, curve.scale];
        const x = this.x(this.events.starts[b]);
        context.moveTo(x, zero - ends[0] * reach);
        context.lineTo(x, zero - ends[1] * reach);
        continue;
      }
      const start = this.events.starts[b] + (curve.delay || 0);
      context.moveTo(this.x(start + curve.times[0]), zero);
      for (let i = 0; i < curve.times.length; i++) {
        context.lineTo(this.x(start + curve.times[i]), zero - curve.values[i] * curve.scale * reach);
      }
      context.lineTo(this.x(start + curve.times[curve.times.length - 1]), zero);
    }
    context.stroke();
    if (!dense) context.fill();
  }

  drawReadouts(context, box, b0, b1) {
    context.fillStyle = "#cbd2d9";
    for (let b = b0; b <= b1; b++) {
      const readout = this.events.readout(b);
      if (!readout) continue;
      const x = this.x(this.events.starts[b] + readout.delay);
      context.fillRect(x, box.top + 2, Math.max(readout.samples * readout.dwell * this.scale(), 0.5), box.bottom - box.top - 2);
    }
  }

  drawMagnetisation(context, box) {
    const m = this.magnetisation, middle = (box.top + box.bottom) / 2, reach = 0.46 * (box.bottom - box.top);
    const values = m.tissues[this.tissue].values;
    for (const [colour, value] of [[BLUE, (i) => Math.hypot(values[3 * i], values[3 * i + 1])], [PURPLE, (i) => values[3 * i + 2]]]) {
      context.strokeStyle = colour;
      context.lineWidth = 1.5;
      context.beginPath();
      for (let i = 0; i < m.times.length; i++) {
        context.lineTo(this.x(m.start + m.times[i]), middle - value(i) * m.scale * reach);
      }
      context.stroke();
    }
    context.textAlign = "right";
    context.fillStyle = BLUE;
    context.fillText("|Mxy|", box.width - MARGIN.right - 40, box.bottom - 8);
    context.fillStyle = PURPLE;
    context.fillText("Mz", box.width - MARGIN.right - 12, box.bottom - 8);
  }

  ticks(context, width, height) {
    const step = nice((this.t1 - this.t0) * 1e3 / 8);
    context.fillStyle = SOFT;
    context.strokeStyle = SOFT;
    context.textAlign = "center";
    context.textBaseline = "top";
    context.beginPath();
    for (let t = Math.ceil(this.t0 * 1e3 / step) * step; t <= this.t1 * 1e3 * (1 + 1e-12); t += step) {
      const x = this.x(t * 1e-3);
      context.moveTo(x, height - MARGIN.bottom); context.lineTo(x, height - MARGIN.bottom + 4);
      if (x < width - 90) context.fillText(String(Number(t.toPrecision(9))), x, height - MARGIN.bottom + 6);
    }
    context.stroke();
    context.textAlign = "right";
    context.fillText("time / ms", width - MARGIN.right, height - MARGIN.bottom + 6);
  }
}
