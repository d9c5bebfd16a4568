// Loss over steps: one line per render, drawn small and plain; the number under the pointer is told.

const NS = "http://www.w3.org/2000/svg"

export default function ({ data, parentElement }) {
  const box = parentElement.querySelector(".lines"), svg = parentElement.querySelector("svg")
  const told = parentElement.querySelector(".told"), legend = parentElement.querySelector(".legend")
  const series = data.series.filter(one => one.points.length > 1)
  const W = 600, H = data.height ?? 140, gap = 4
  svg.setAttribute("viewBox", `0 0 ${W} ${H}`)
  box.hidden = !series.length
  if (!series.length) { svg.replaceChildren(); return }

  const all = series.flatMap(one => one.points)
  const xs = all.map(p => p[0]), ys = all.map(p => p[1])
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)]
  const x = v => gap + (v - x0) / (x1 - x0 || 1) * (W - 2 * gap)
  const y = v => H - gap - (v - y0) / (y1 - y0 || 1) * (H - 2 * gap)
  svg.replaceChildren(...series.map((one, i) => {
    const line = document.createElementNS(NS, "path")
    line.setAttribute("d", one.points.map((p, j) => `${j ? "L" : "M"}${x(p[0]).toFixed(1)} ${y(p[1]).toFixed(1)}`).join(""))
    line.setAttribute("class", `line c${i}`)
    return line
  }))
  legend.replaceChildren(...(series.length > 1 ? series : []).map((one, i) => {
    const name = document.createElement("span")
    name.className = `c${i}`; name.textContent = one.name
    return name
  }))
  const number = v => Number(v.toPrecision(3)).toString()
  const rest = () => {
    told.textContent = series.length > 1 ? "loss" : `loss ${number(series[0].points[0][1])} to ${number(series[0].points.at(-1)[1])}`
  }
  rest()
  svg.onpointermove = event => {
    const area = svg.getBoundingClientRect(), at = x0 + (event.clientX - area.left) / area.width * (x1 - x0)
    told.textContent = series.map(one => {
      const near = one.points.reduce((a, b) => Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a)
      return `${series.length > 1 ? one.name + ": " : ""}step ${near[0]}, loss ${number(near[1])}`
    }).join("   ")
  }
  svg.onpointerleave = rest
}
