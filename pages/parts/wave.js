// What every drawing of sound shares. Prepended to the scripts of the components that need it.

const memory = new WeakMap()   // one drawing's state, by the element that holds it

function paletteOf(root) {
  const style = getComputedStyle(root.host ?? root)
  const read = (name, spare) => style.getPropertyValue(name).trim() || spare
  return {
    text: read("--st-text-color", "#888"),
    accent: read("--st-orange-color", "#F26B3A"),
    chosen: read("--st-green-color", "#3FA7A0"),
    muted: read("--st-gray-color", "#888"),
    line: read("--st-border-color", "#8884"),
    font: read("--st-font", "sans-serif"),
  }
}

function clock(seconds) {
  const s = Math.max(0, seconds), whole = Math.floor(s), two = n => String(n).padStart(2, "0")
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60
  return (hours ? hours + ":" + two(minutes) : minutes) + ":" + two(whole % 60)
}

// The canvas at the screen's resolution; returns [context, width, height] in CSS pixels.
function surface(canvas) {
  const scale = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale); canvas.height = Math.round(height * scale)
  }
  const context = canvas.getContext("2d")
  context.setTransform(scale, 0, 0, scale, 0, 0)
  context.clearRect(0, 0, width, height)
  return [context, width, height]
}

// The song as bars. `look(from, to)` gives [colour, opacity] for the bar covering that share of the song.
function bars(context, peaks, width, height, look) {
  const loudest = Math.max(0.01, ...peaks)                   // a quiet song is drawn as tall as a loud one
  const pitch = 4, count = Math.max(1, Math.floor(width / pitch)), middle = height / 2
  for (let i = 0; i < count; i++) {
    const first = Math.floor(i * peaks.length / count)
    const last = Math.max(first + 1, Math.floor((i + 1) * peaks.length / count))
    let high = 0
    for (let j = first; j < last && j < peaks.length; j++) high = Math.max(high, peaks[j])
    const half = Math.max(1, Math.pow(high / loudest, 0.85) * (middle - 1))
    const [colour, opacity] = look(i / count, (i + 1) / count)
    context.globalAlpha = opacity; context.fillStyle = colour
    context.beginPath(); context.roundRect(i * pitch + 0.5, middle - half, 2.5, 2 * half, 1.25); context.fill()
  }
  context.globalAlpha = 1
}
