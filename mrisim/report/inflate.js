// Decompression, RFC 1951, in any browser and at once.
const LENGTHS = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const LENGTH_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCES = [1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577];
const DISTANCE_BITS = [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const LONGEST = 15; // bits of a code

// Table from the next bits of the stream to symbol · 16 + length of its code.
function codes(lengths) {
  const longest = lengths.reduce((most, length) => Math.max(most, length), 1), table = new Int32Array(1 << longest);
  let code = 0;
  for (let length = 1; length <= longest; length++, code <<= 1) {
    for (let symbol = 0; symbol < lengths.length; symbol++) {
      if (lengths[symbol] !== length) continue;
      let turned = 0;
      for (let i = 0; i < length; i++) turned |= (code >> i & 1) << (length - 1 - i);
      for (let at = turned; at < table.length; at += 1 << length) table[at] = symbol << 4 | length;
      code++;
    }
  }
  return { table, mask: table.length - 1 };
}

function inflate(source, size) {
  const out = new Uint8Array(size);
  let at = 0, held = 0, count = 0, place = 0;
  const fill = (n) => { while (count < n) { held |= (source[at++] || 0) << count; count += 8; } };
  const bits = (n) => {
    if (n === 0) return 0;
    fill(n);
    const value = held & (1 << n) - 1;
    held >>>= n; count -= n;
    return value;
  };
  const symbol = ({ table, mask }) => {
    fill(LONGEST);
    const found = table[held & mask];
    held >>>= found & 15; count -= found & 15;
    return found >> 4;
  };
  const fixed = [codes([...Array(288)].map((_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8))), codes(Array(30).fill(5))];
  const described = () => {
    const literals = bits(5) + 257, distances = bits(5) + 1, few = bits(4) + 4, small = Array(19).fill(0), lengths = [];
    for (let i = 0; i < few; i++) small[ORDER[i]] = bits(3);
    const code = codes(small);
    while (lengths.length < literals + distances) {
      const found = symbol(code);
      if (found < 16) { lengths.push(found); continue; }
      const value = found === 16 ? lengths[lengths.length - 1] : 0;
      for (let n = found === 16 ? 3 + bits(2) : found === 17 ? 3 + bits(3) : 11 + bits(7); n > 0; n--) lengths.push(value);
    }
    return [codes(lengths.slice(0, literals)), codes(lengths.slice(literals))];
  };
  for (let last = 0; !last;) {
    last = bits(1);
    const kind = bits(2);
    if (kind === 0) {
      at -= count >> 3; held = count = 0;
      const length = source[at] | source[at + 1] << 8;
      out.set(source.subarray(at + 4, at + 4 + length), place);
      at += 4 + length; place += length;
      continue;
    }
    const [literal, distance] = kind === 1 ? fixed : described();
    for (let found = symbol(literal); found !== 256; found = symbol(literal)) {
      if (found < 256) { out[place++] = found; continue; }
      const length = LENGTHS[found - 257] + bits(LENGTH_BITS[found - 257]), far = symbol(distance);
      const from = place - DISTANCES[far] - bits(DISTANCE_BITS[far]);
      for (let i = 0; i < length; i++) out[place++] = out[from + i];
    }
  }
  return out;
}
