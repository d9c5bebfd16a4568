// A render at work: the picture as it grows, the song filling with the accent, one line of words.

export default function ({ data, parentElement }) {
  const find = name => parentElement.querySelector(name)
  const self = memory.get(parentElement) ?? {}
  memory.set(parentElement, self)

  // A new preview is shown when it has arrived whole, so nothing flashes.
  const frame = find(".frame"), image = find("img")
  frame.style.setProperty("--aspect", data.aspect)
  frame.dataset.empty = !data.src
  if (self.render !== data.id) { self.render = data.id; self.src = null; image.removeAttribute("src") }
  if (data.src && self.src !== data.src) {
    self.src = data.src
    const next = new Image()
    next.src = data.src
    next.decode().then(() => { if (self.src === data.src) { image.src = data.src; image.alt = data.alt } }, () => {})
  }
  find(".hint").textContent = data.hint ?? ""
  find(".now").textContent = data.now ?? ""
  find(".rest").textContent = data.rest ?? ""
  find(".hears").textContent = data.hears ?? ""
  find(".strip").hidden = data.share == null
  find(".strip").setAttribute("aria-valuenow", Math.round((data.share ?? 0) * 100))
  frame.classList.toggle("working", !!data.working)
  draw()

  function draw() {
    const canvas = find("canvas")
    if (data.share == null) return
    const colours = paletteOf(parentElement), [context, width, height] = surface(canvas)
    if (!width) return
    const peaks = data.peaks?.length ? data.peaks : Array(60).fill(0.12)
    bars(context, peaks, width, height, (from, to) =>
      (from + to) / 2 <= data.share ? [colours.accent, 1] : [colours.muted, 0.4])
  }
  self.draw = draw
  self.sizes ??= new ResizeObserver(() => self.draw())
  self.sizes.observe(find("canvas"))
  return () => self.sizes.disconnect()
}
