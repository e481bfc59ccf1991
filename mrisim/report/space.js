// k-space beside the timeline: all readouts faint, the one at the cursor strong, and the point.
const MOST_LINES = 3000, PIECES = 24;

Object.assign(Timeline.prototype, {
  prepareSpace() {
    const events = this.events, rows = [];
    for (let b = 0; b < events.count; b++) if (events.readout(b)) rows.push(b);
    const stride = Math.ceil(rows.length / MOST_LINES);
    this.lines = rows.filter((_, i) => i % stride === 0).map((b) => this.line(b, 2));
    const reach = [0, 1, 2].map((axis) => {
      const values = this.lines.flat().map((k) => k[axis]);
      return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    });
    const straight = rows.length > MOST_LINES / PIECES || rows.every((b) => this.straight(b));
    if (!straight) this.lines = rows.map((b) => this.line(b, clamp(events.readout(b).samples, 2, 400)));
    this.pair = reach[2] > 0.02 * Math.max(...reach) && reach[1] < 0.02 * Math.max(...reach) ? [0, 2] : [0, 1];
    const whole = this.lines.flat();
    const most = whole.reduce((found, k) => Math.max(found, Math.abs(k[this.pair[0]]), Math.abs(k[this.pair[1]])), 0);
    this.reach = most || 1;
  },

  straight(b) {
    const [first, middle, last] = this.line(b, 3);
    const size = Math.hypot(...last.map((value, i) => value - first[i])) || 1;
    return middle.every((value, i) => Math.abs(value - (first[i] + last[i]) / 2) < 0.02 * size);
  },

  line(b, count) {
    const { delay, samples, dwell } = this.events.readout(b), start = this.events.starts[b] + delay;
    const at = (i) => start + (0.5 + (samples - 1) * i / (count - 1)) * dwell;
    return Array.from({ length: count }, (_, i) => this.events.k(at(i)));
  },

  drawSpace(context, width, height) {
    const size = Math.min(width, height - 16) - 34, left = (width - size) / 2 + 8, top = 6;
    const unit = size / (2.16 * this.reach);
    const place = (k) => [left + size / 2 + k[this.pair[0]] * unit, top + size / 2 - k[this.pair[1]] * unit];
    context.strokeStyle = LINE;
    context.strokeRect(left, top, size, size);
    context.beginPath();
    context.moveTo(left, top + size / 2); context.lineTo(left + size, top + size / 2);
    context.moveTo(left + size / 2, top); context.lineTo(left + size / 2, top + size);
    context.stroke();
    const trail = (lines, colour, thick) => {
      context.strokeStyle = colour;
      context.lineWidth = thick;
      context.beginPath();
      for (const line of lines) line.forEach((k, i) => (i ? context.lineTo(...place(k)) : context.moveTo(...place(k))));
      context.stroke();
    };
    trail(this.lines, "#9fb3c8", 0.6);
    const b = this.events.block(this.cursor);
    if (this.events.readout(b)) trail([this.line(b, 60)], BLUE, 2);
    const [x, y] = place(this.events.k(this.cursor)).map((value, i) => clamp(value, i ? top : left, (i ? top : left) + size));
    context.fillStyle = VERMILION;
    context.beginPath(); context.arc(x, y, 5, 0, 7); context.fill();
    context.fillStyle = SOFT;
    context.textAlign = "center";
    context.textBaseline = "top";
    context.fillText(`k${"xyz"[this.pair[0]]}, ±${digits(1.08 * this.reach, 3)} 1/m`, left + size / 2, top + size + 4);
    context.save();
    context.translate(left - 16, top + size / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(`k${"xyz"[this.pair[1]]}`, 0, 0);
    context.restore();
  },
});
