// A sequence in the page: its tables of events, and what they are at any time.
class Events {
  constructor(data) {
    this.data = data;
    this.column = {};
    for (const [name, packed] of Object.entries(data.blocks)) this.column[name] = unpack(packed);
    this.count = this.column.duration.length;
    this.starts = new Float64Array(this.count + 1);
    this.pulse = new Int32Array(this.count);
    let pulses = 0;
    for (let b = 0; b < this.count; b++) {
      this.starts[b + 1] = this.starts[b] + data.durations[this.column.duration[b]];
      this.pulse[b] = this.column.rf[b] >= 0 ? pulses++ : -1;
    }
    this.end = this.starts[this.count];
    this.rf = {};
    for (const name of ["amplitude", "phase", "frequency", "delay", "flip"]) this.rf[name] = unpack(data.rf[name]);
    this.amplitude = unpack(data.gradient.amplitude);
    const curve = (shape) => ({ times: unpack(shape.times), values: unpack(shape.values), center: shape.center });
    this.shapes = data.gradientShapes.map(curve);
    this.pulses = data.rfShapes.map(curve);
    this.shapePeaks = this.shapes.map((shape) => [Math.min(...shape.values), Math.max(...shape.values)]);
    this.kStart = unpack(data.kStart);
    this.kAfter = unpack(data.kAfter);
  }

  block(t) {
    let low = 0, high = this.count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= t) low = middle; else high = middle - 1;
    }
    return low;
  }

  // Corners of a gradient of a block, or null: times from its start [s], values in units of `scale` [mT/m].
  corners(axis, b) {
    const event = this.column[axis][b];
    if (event < 0) return null;
    return { ...this.shapes[this.data.gradient.shape[event]], scale: this.amplitude[event] };
  }

  peaks(axis, b) {
    const event = this.column[axis][b];
    if (event < 0) return null;
    const ends = this.shapePeaks[this.data.gradient.shape[event]].map((value) => value * this.amplitude[event]);
    return [Math.min(...ends, 0), Math.max(...ends, 0)];
  }

  // Envelope of the pulse of a block, or null: as `corners`, in µT.
  envelope(b) {
    const event = this.column.rf[b];
    if (event < 0) return null;
    const shape = this.pulses[this.data.rf.shape[event]];
    const delay = this.rf.delay[event];
    return { times: shape.times, values: shape.values, scale: this.rf.amplitude[event], delay, center: delay + shape.center, event };
  }

  readout(b) {
    const event = this.column.adc[b];
    if (event < 0) return null;
    const { samples, dwell, delay } = this.data.adc;
    return { samples: samples[event], dwell: dwell[event], delay: delay[event] };
  }

  static at(curve, local) {
    const { times, values, scale } = curve;
    const t = local - (curve.delay || 0);
    if (t < times[0] || t > times[times.length - 1]) return 0;
    let i = 1;
    while (i < times.length - 1 && times[i] < t) i++;
    const step = times[i] - times[i - 1];
    const share = step > 0 ? (t - times[i - 1]) / step : 1;
    return scale * (values[i - 1] + share * (values[i] - values[i - 1]));
  }

  // Integral of a gradient of a block up to a time from its start [1/m].
  moment(axis, b, local) {
    const curve = this.corners(axis, b);
    if (!curve) return 0;
    const { times, values, scale } = curve;
    let sum = 0;
    for (let i = 1; i < times.length && times[i - 1] < local; i++) {
      const step = times[i] - times[i - 1], inside = Math.min(local - times[i - 1], step);
      const slope = step > 0 ? (values[i] - values[i - 1]) / step : 0;
      sum += inside * (values[i - 1] + 0.5 * slope * inside);
    }
    return sum * scale * 1e-3 * this.data.gamma;
  }

  moments(b, local) {
    const m = ["gx", "gy", "gz"].map((axis) => this.moment(axis, b, local));
    const turn = this.column.rotation[b];
    return turn < 0 ? m : this.data.rotations[turn].map((row) => row[0] * m[0] + row[1] * m[1] + row[2] * m[2]);
  }

  // k on logical axes [1/m]: zero at an excitation, mirrored by a refocusing pulse.
  k(t) {
    const b = this.block(t), local = t - this.starts[b];
    const now = this.moments(b, local), pulse = this.envelope(b);
    if (pulse && local >= pulse.center) {
      const then = this.moments(b, pulse.center), p = 3 * this.pulse[b];
      return now.map((value, i) => this.kAfter[p + i] + value - then[i]);
    }
    return now.map((value, i) => this.kStart[3 * b + i] + value);
  }
}

// Magnetisation of some tissues, straight between the times at which it was computed.
class Magnetisation {
  constructor(data) {
    this.known = Boolean(data.times);
    if (!this.known) return;
    this.start = data.start;
    this.times = unpack(data.times);
    this.scale = data.scale;
    this.tissues = data.tissues.map((tissue) => ({ ...tissue, values: unpack(tissue.values) }));
    this.stop = this.start + this.times[this.times.length - 1];
  }

  at(tissue, t) {
    if (!this.known || t < this.start - 1e-9 || t > this.stop + 1e-9) return null;
    const local = t - this.start, times = this.times;
    let low = 0, high = times.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (times[middle] <= local) low = middle; else high = middle;
    }
    const share = high > low ? clamp((local - times[low]) / (times[high] - times[low]), 0, 1) : 0;
    const values = this.tissues[tissue].values;
    return [0, 1, 2].map((i) => this.scale * (values[3 * low + i] * (1 - share) + values[3 * high + i] * share));
  }
}
