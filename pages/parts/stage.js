// A song as it is drawn everywhere: its waveform with beats, playable, with a region to choose;
// and above it, if there is one, the picture or the film it became. One clock moves them all.

export default function ({ data, parentElement, setStateValue }) {
  const find = name => parentElement.querySelector(name)
  const canvas = find("canvas"), play = find(".play"), media = find(".media")
  const self = memory.get(parentElement) ?? { region: null, drag: null, playing: 0, loaded: "" }
  memory.set(parentElement, self)
  const { song, choose } = data
  const length = Math.max(song.duration, 0.01)
  const whole = { start: 0, end: length }
  if (!self.drag) self.region = data.region ?? whole

  // -- picture or film ------------------------------------------------------------------------
  const shown = JSON.stringify(data.media ?? null)
  if (self.shown !== shown) {
    self.shown = shown
    media.replaceChildren()
    media.hidden = !data.media
    if (data.media) media.append(pictureOf(data.media))
  }
  media.style.setProperty("--room", data.tall ?? "auto")
  media.style.setProperty("--tall", data.tall ?? data.limit ?? "72vh")
  const film = media.querySelector("video")

  // -- sound ----------------------------------------------------------------------------------
  const audio = find("audio")
  if (!film && song.src && self.loaded !== song.src) { self.loaded = song.src; audio.src = song.src }
  const player = film ?? audio
  const offset = film ? self.region.start : 0            // where the player's zero lies in the song
  const now = () => offset + (player.currentTime || 0)
  const playing = () => !player.paused && !player.ended
  play.hidden = !!film || !song.src
  find(".stage").classList.toggle("film", !!film)

  function seek(seconds) {
    const bound = Math.min(Math.max(seconds, self.region.start), self.region.end - 0.02)
    player.currentTime = Math.max(0, bound - offset); self.touched = true; draw()
  }
  function toggle() {
    if (playing()) { player.pause(); return }
    if (!film && (now() < self.region.start || now() >= self.region.end - 0.05)) seek(self.region.start)
    self.touched = true
    player.play()
  }
  function tick() {
    if (!film && now() >= self.region.end) { player.pause(); seek(self.region.start) }
    draw()
    if (playing()) self.playing = requestAnimationFrame(tick)
  }
  player.onplay = () => { self.touched = true; face(); cancelAnimationFrame(self.playing); tick() }
  player.onpause = player.onended = () => { face(); draw() }
  player.onseeked = draw
  play.onclick = toggle
  function face() {
    play.dataset.playing = playing()
    play.setAttribute("aria-label", playing() ? "Pause" : "Play")
  }

  // -- drawing --------------------------------------------------------------------------------
  function draw() {
    const colours = paletteOf(parentElement), [context, width, height] = surface(canvas)
    if (!width) return
    const lines = data.lines ?? [], beatRoom = 10, lineRoom = lines.length ? 9 : 0
    const waveHeight = height - beatRoom - lineRoom
    const { start, end } = self.region, at = self.touched ? now() : start
    const x = seconds => seconds / length * width
    context.fillStyle = colours.chosen                         // what is sung, as dashes above the waveform
    for (const [from, to] of lines) {
      context.globalAlpha = to <= start || from >= end ? 0.3 : at >= from && at < to && self.touched ? 1 : 0.75
      context.beginPath(); context.roundRect(x(from) + 0.5, 0, Math.max(2, x(to) - x(from) - 1.5), 4, 2); context.fill()
    }
    context.globalAlpha = 1
    context.translate(0, lineRoom)
    if (!song.peaks?.length) {                                 // the song is still being listened to
      context.fillStyle = colours.line; context.fillRect(0, waveHeight / 2, width, 1)
    } else bars(context, song.peaks, width, waveHeight, (from, to) => {
      const middle = (from + to) / 2 * length
      if (middle < start || middle > end) return [colours.muted, 0.3]
      return middle < at ? [colours.accent, 1] : [colours.text, 0.82]
    })
    context.fillStyle = colours.muted
    const beats = song.beats ?? [], crowded = beats.length > width / 5
    beats.forEach((beat, i) => {
      if (crowded && i % Math.ceil(beats.length / (width / 5))) return
      context.globalAlpha = beat >= start && beat <= end ? 0.8 : 0.3
      context.fillRect(x(beat) - 0.5, height - lineRoom - 5, 1.5, 5)
    })
    context.globalAlpha = 1
    if (choose) for (const [edge, side] of [[start, 1], [end, -1]]) {
      context.fillStyle = colours.chosen
      const left = Math.min(Math.max(x(edge) - 1.5, 0), width - 3)
      context.fillRect(left, 0, 3, waveHeight)
      context.beginPath(); context.roundRect(left + (side > 0 ? 0 : -5), waveHeight / 2 - 11, 8, 22, 4); context.fill()
    }
    if (self.touched) {
      context.fillStyle = colours.accent
      context.fillRect(x(at) - 1, 0, 2, waveHeight)
    }
    find(".from").textContent = clock(self.touched ? at : start)
    const sung = self.touched && lines.find(([from, to]) => at >= from && at < to)
    find(".what").textContent = sung ? sung[2] : [data.caption, start > 0.05 || end < length - 0.05
      ? `${clock(start)} to ${clock(end)}, ${seconds(end - start)} of ${clock(length)}`
      : choose ? `The whole song, ${clock(length)}` : clock(length),
      song.tempo ? `${Math.round(song.tempo)} beats a minute` : "", data.told].filter(Boolean).join("  ·  ")
    canvas.setAttribute("aria-valuemax", Math.round(length))
    canvas.setAttribute("aria-valuenow", Math.round(at))
    canvas.setAttribute("aria-valuetext", `${clock(start)} to ${clock(end)}`)
  }
  const seconds = s => s < 90 ? `${Math.round(s * 10) / 10} s` : clock(s)

  // -- choosing a region ----------------------------------------------------------------------
  const timeAt = event => {
    const box = canvas.getBoundingClientRect()
    return Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) * length
  }
  const near = (seconds, event) => {
    const box = canvas.getBoundingClientRect()
    return Math.abs(box.left + seconds / length * box.width - event.clientX) < 12
  }
  const snapped = (seconds, free) => {                      // to a beat close by, unless Alt is held
    if (free) return seconds
    const reach = 5 / canvas.clientWidth * length
    return (song.beats ?? []).find(beat => Math.abs(beat - seconds) < reach) ?? seconds
  }
  const part = () => self.region.start > 0.05 || self.region.end < length - 0.05
  function grip(event) {
    if (near(self.region.end, event)) return "end"
    if (near(self.region.start, event)) return "start"
    const at = timeAt(event)
    return part() && at > self.region.start && at < self.region.end ? "move" : "new"
  }
  function report() {
    const round = value => Math.round(value * 100) / 100
    const region = { start: round(self.region.start), end: round(self.region.end) }
    self.region = region
    setStateValue("region", { ...region, at: Date.now() })  // an equal value would not be sent
  }
  canvas.onpointerdown = event => {
    canvas.setPointerCapture(event.pointerId)
    self.drag = { how: choose ? grip(event) : "seek", from: timeAt(event), x: event.clientX, was: { ...self.region } }
  }
  canvas.onpointermove = event => {
    if (!self.drag) {
      const over = (data.lines ?? []).find(([from, to]) => timeAt(event) >= from && timeAt(event) < to)
      canvas.title = over?.[2] ?? ""
      if (choose) canvas.style.cursor = { end: "ew-resize", start: "ew-resize", move: "grab", new: "crosshair" }[grip(event)]
      return
    }
    const { how, from, was } = self.drag, at = timeAt(event), free = event.altKey, least = Math.min(0.5, length)
    if (Math.abs(event.clientX - self.drag.x) > 4) self.drag.moved = true
    if (!self.drag.moved || how === "seek") return
    if (how === "start") self.region.start = Math.min(snapped(at, free), was.end - least)
    if (how === "end") self.region.end = Math.max(snapped(at, free), was.start + least)
    if (how === "move") {
      const span = was.end - was.start
      const start = Math.min(Math.max(snapped(was.start + at - from, free), 0), length - span)
      self.region = { start, end: start + span }
    }
    if (how === "new") {
      const [low, high] = [Math.min(from, at), Math.max(from, at)]
      self.region = { start: snapped(low, free), end: Math.min(length, Math.max(snapped(high, free), low + least)) }
    }
    draw()
  }
  canvas.onpointerup = event => {
    const drag = self.drag
    self.drag = null
    if (drag?.moved && drag.how !== "seek") report()
    else if (drag) seek(timeAt(event))
  }
  canvas.onpointercancel = () => { self.drag = null; draw() }
  canvas.ondblclick = () => { if (choose) { self.region = { ...whole }; report(); draw() } }
  canvas.onkeydown = event => {
    if (event.key === " ") { event.preventDefault(); toggle(); return }
    const step = { ArrowLeft: -0.5, ArrowRight: 0.5 }[event.key]
    if (!step) return
    event.preventDefault()
    if (!choose) { seek(now() + step); return }
    if (event.shiftKey) self.region.end = Math.min(length, Math.max(self.region.end + step, self.region.start + 0.5))
    else self.region.start = Math.max(0, Math.min(self.region.start + step, self.region.end - 0.5))
    draw(); clearTimeout(self.later); self.later = setTimeout(report, 400)
  }
  canvas.classList.toggle("choose", !!choose)

  face(); draw()
  self.sizes ??= new ResizeObserver(() => self.draw())
  self.draw = draw
  self.sizes.observe(canvas)
  return () => { self.sizes.disconnect(); cancelAnimationFrame(self.playing); audio.pause() }
}

function pictureOf(media) {
  const element = document.createElement(media.kind === "video" ? "video" : "img")
  if (media.kind === "video") {
    Object.assign(element, { controls: true, playsInline: true, loop: !!media.loop, preload: "metadata" })
    if (media.poster) element.poster = media.poster
  } else element.alt = media.alt ?? ""
  element.src = media.src
  element.style.aspectRatio = `${media.width || 1} / ${media.height || 1}`
  element.style.setProperty("--aspect", (media.width || 1) / (media.height || 1))
  return element
}
