// What the explorers of a page share: arrays, numbers as text, canvases that fit the screen.
const KINDS = { f32: Float32Array, i16: Int16Array, u16: Uint16Array, u8: Uint8Array };

// Numbers as `packed.py` keeps them: planes of bytes, deflated, in base64.
function unpack(packed) {
  const text = atob(packed.data), short = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) short[i] = text.charCodeAt(i);
  const planes = inflate(short, packed.size), kind = KINDS[packed.type];
  const width = kind.BYTES_PER_ELEMENT, count = packed.size / width, bytes = new Uint8Array(packed.size);
  for (let i = 0; i < count; i++) for (let j = 0; j < width; j++) bytes[width * i + j] = planes[count * j + i];
  return new kind(bytes.buffer);
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// Four digits, without a sign for what rounds to zero.
function digits(value, count = 4) {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) < 1e-9) return "0";
  return String(Number(value.toPrecision(count)));
}

function fixed(value, decimals) {
  const text = value.toFixed(decimals);
  return Number(text) === 0 ? (0).toFixed(decimals) : text;
}

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Canvas with as many pixels as the screen has; calls `draw(context, width, height)` with lengths in CSS pixels.
function surface(canvas, draw) {
  const paint = () => {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !height) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = '12px system-ui, "DejaVu Sans", sans-serif';
    draw(context, width, height);
  };
  let waiting = false;
  const later = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; paint(); });
  };
  new ResizeObserver(later).observe(canvas);
  paint();
  return later;
}

const INK = "#1f2933", SOFT = "#52606d", LINE = "#e4e7eb";
const BLUE = "#0072b2", ORANGE = "#b87a00", GREEN = "#009e73", VERMILION = "#d55e00", PURPLE = "#a4467a";

function nice(step) {
  const decade = 10 ** Math.floor(Math.log10(step));
  return [1, 2, 5, 10].find((factor) => factor * decade >= step * (1 - 1e-9)) * decade;
}
