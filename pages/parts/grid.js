// The wall of pictures: rows of equal height, text under each picture, never on it.
// Click or Enter opens, arrows move, x or the ring in the corner selects.

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const wall = parentElement.querySelector(".wall")
  const self = memory.get(parentElement) ?? { chosen: [], at: 0 }
  memory.set(parentElement, self)
  self.chosen = data.selected ?? []
  wall.classList.toggle("strip", !!data.strip)

  const drawn = JSON.stringify(data.items)
  if (self.drawn !== drawn) {
    self.drawn = drawn
    const kept = new Map([...wall.querySelectorAll("img")].map(image => [image.getAttribute("src"), image]))
    wall.replaceChildren(...data.items.map(item => tile(item, kept)))
    self.at = Math.min(self.at, Math.max(0, data.items.length - 1))
  }
  mark()

  function tile(item, kept) {
    const box = element("div", "tile"), frame = element("div", "frame")
    box.dataset.id = item.id
    box.setAttribute("role", "gridcell")
    box.setAttribute("aria-label", [item.title, item.sub, item.state].filter(Boolean).join(", "))
    box.style.setProperty("--a", item.aspect)
    if (item.src) {
      const image = kept.get(item.src) ?? new Image()
      Object.assign(image, { loading: "lazy", decoding: "async", alt: item.title })
      if (image.getAttribute("src") !== item.src) image.src = item.src
      frame.append(image)
    }
    else frame.append(silhouette(item.peaks ?? []))
    if (item.share != null) {
      const bar = element("div", "share"); bar.style.setProperty("--done", item.share); frame.append(bar)
    }
    box.append(frame)
    if (data.selectable) {
      const ring = element("button", "ring"); ring.type = "button"; ring.tabIndex = -1
      ring.title = "Select (x)"; ring.setAttribute("aria-label", `Select ${item.title}`)
      ring.onclick = event => { event.stopPropagation(); choose(item.id) }
      box.append(ring)
    }
    const words = element("div", "words"), title = element("div", "title", item.title)
    const line = element("div", "sub")
    if (item.badge) line.append(filmMark(), element("span", "time", item.badge))
    if (item.state) line.append(element("span", "state " + item.state, item.word))
    line.append(element("span", "song", item.sub))
    words.append(title, line); box.append(words)
    box.onclick = () => open(item.id)
    return box
  }

  function tiles() { return [...wall.querySelectorAll(".tile")] }
  function mark() {
    tiles().forEach((box, i) => {
      box.tabIndex = i === self.at ? 0 : -1
      box.setAttribute("aria-selected", self.chosen.includes(Number(box.dataset.id)))
    })
  }
  function open(id) { setTriggerValue("open", id) }
  function choose(id) {
    if (!data.selectable) return
    self.chosen = self.chosen.includes(id) ? self.chosen.filter(one => one !== id) : [...self.chosen, id].slice(-2)
    mark(); setStateValue("selected", self.chosen)
  }
  function move(to) {
    const all = tiles()
    if (!all.length) return
    self.at = Math.min(Math.max(to, 0), all.length - 1)
    mark(); all[self.at].focus()
  }
  function beside(direction) {                       // the nearest tile in the row above or below
    const all = tiles(), here = all[self.at].getBoundingClientRect(), middle = here.left + here.width / 2
    const rows = all.map((box, i) => [box.getBoundingClientRect(), i])
      .filter(([box]) => direction > 0 ? box.top > here.top + 4 : box.top < here.top - 4)
    if (!rows.length) return self.at
    const edge = direction > 0 ? Math.min(...rows.map(([box]) => box.top)) : Math.max(...rows.map(([box]) => box.top))
    return rows.filter(([box]) => Math.abs(box.top - edge) < 4)
      .sort(([a], [b]) => Math.abs(a.left + a.width / 2 - middle) - Math.abs(b.left + b.width / 2 - middle))[0][1]
  }
  wall.onkeydown = event => {
    const all = tiles(), focused = all.findIndex(box => box === event.target)
    if (focused < 0) return
    self.at = focused
    const id = Number(all[focused].dataset.id)
    const act = { ArrowRight: () => move(self.at + 1), ArrowLeft: () => move(self.at - 1),
      ArrowDown: () => move(beside(1)), ArrowUp: () => move(beside(-1)), Home: () => move(0),
      End: () => move(all.length - 1), Enter: () => open(id), x: () => choose(id) }[event.key]
    if (act) { event.preventDefault(); event.stopPropagation(); act() }
  }
}

function element(name, className, text) {
  const made = document.createElement(name)
  made.className = className
  if (text != null) made.textContent = text
  return made
}

// The song's outline, where there is no picture.
function silhouette(peaks) {
  const box = element("div", "silhouette"), loudest = Math.max(0.01, ...peaks)
  box.append(...peaks.map(peak => {
    const bar = document.createElement("i")
    bar.style.height = `${Math.max(4, peak / loudest * 100)}%`
    return bar
  }))
  return box
}

function filmMark() {
  const mark = document.createElementNS("http://www.w3.org/2000/svg", "svg")
  mark.setAttribute("viewBox", "0 0 16 16")
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path")
  path.setAttribute("d", "M5 3.2v9.6a.6.6 0 0 0 .92.5l7.3-4.8a.6.6 0 0 0 0-1L5.92 2.7a.6.6 0 0 0-.92.5z")
  mark.append(path)
  return mark
}
