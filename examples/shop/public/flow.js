/** The flow picture: producers, channels and consumers, with events that travel between them. */

const SVG = 'http://www.w3.org/2000/svg'
const WIDTH = 142
const HEIGHT = 54
const PULSES_MAX = 60
const PULSE_MS = 650

/** name: [kind, x, y, label]. Consumers have a prefix, because a consumer and a channel may share a name. */
const NODES = {
  'p:storefront': ['producer', 16, 150, 'storefront', 'every click, over HTTP'],
  'p:recorded': ['producer', 16, 356, 'GitHub', 'recorded webhooks'],
  carts: ['stream', 194, 150],
  github: ['stream', 194, 356],
  'c:inventory': ['consumer', 376, 62],
  'c:pricing': ['consumer', 376, 234],
  'c:activity': ['consumer', 376, 356],
  stock: ['stream', 566, 20],
  deliveries: ['queue', 566, 104],
  prices: ['stream', 566, 190],
  orders: ['stream', 566, 272],
  activity: ['stream', 566, 356],
  'c:fulfilment': ['consumer', 752, 272],
  mail: ['queue', 752, 150],
  'c:mail': ['consumer', 932, 150],
  letters: ['stream', 1106, 150],
}
/** From, to, and whether events are delayed on the way. */
const EDGES = [
  ['p:storefront', 'carts'],
  ['p:recorded', 'github'],
  ['carts', 'c:inventory'],
  ['carts', 'c:pricing'],
  ['github', 'c:activity'],
  ['c:inventory', 'stock'],
  ['c:inventory', 'deliveries', true],
  ['c:pricing', 'prices'],
  ['c:pricing', 'orders'],
  ['c:activity', 'activity'],
  ['orders', 'c:fulfilment'],
  ['c:fulfilment', 'mail'],
  ['mail', 'c:mail'],
  ['c:mail', 'letters'],
]
/** The path of an event, by its channel and type: each step is an edge; `-` means against its direction. */
const WAYS = {
  carts: ['p:storefront>carts', ['carts>c:inventory', 'carts>c:pricing']],
  github: ['p:recorded>github', ['github>c:activity']],
  stock: ['c:inventory>stock', []],
  deliveries: ['c:inventory>deliveries', ['-c:inventory>deliveries']],
  prices: ['c:pricing>prices', []],
  activity: ['c:activity>activity', []],
  'order.placed': ['c:pricing>orders', ['orders>c:fulfilment']],
  'order.packed': ['-orders>c:fulfilment', []],
  'order.shipped': ['-orders>c:fulfilment', []],
  mail: ['c:fulfilment>mail', ['mail>c:mail']],
  letters: ['c:mail>letters', []],
}

const make = (name, attributes, ...children) => {
  const element = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  element.append(...children)
  return element
}

export class Flow {
  #svg = make('svg', {
    viewBox: '0 0 1262 426',
    role: 'img',
    'aria-label': 'Producers, channels and consumers of the shop',
  })
  #edges = new Map()
  #nodes = new Map()
  #pulses = 0
  #still = matchMedia('(prefers-reduced-motion: reduce)').matches

  constructor(parent) {
    for (const [from, to, later] of EDGES) this.#drawEdge(from, to, later)
    for (const [name, [kind, x, y, label, note]] of Object.entries(NODES))
      this.#drawNode(name, kind, x, y, label ?? name.replace(/^c:/, ''), note ?? '')
    parent.append(this.#svg)
  }

  #drawEdge(from, to, later) {
    const [, x1, y1] = NODES[from]
    const [, x2, y2] = NODES[to]
    const upward = x1 === x2
    const start = upward ? [x1 + WIDTH / 2, y1] : [x1 + WIDTH, y1 + HEIGHT / 2]
    const end = upward ? [x2 + WIDTH / 2, y2 + HEIGHT] : [x2, y2 + HEIGHT / 2]
    const middle = (start[0] + end[0]) / 2
    const d = upward ? `M${start} L${end}` : `M${start} C${middle},${start[1]} ${middle},${end[1]} ${end}`
    const path = make('path', { class: 'edge', d })
    if (later) path.setAttribute('data-later', '')
    this.#edges.set(`${from}>${to}`, { path, from, to })
    this.#svg.append(path)
  }

  #drawNode(name, kind, x, y, label, words) {
    const note = make('text', { class: 'note', x: x + 14, y: y + 41 })
    note.textContent = words
    const title = make('text', { class: 'name', x: x + 14, y: y + 23 })
    title.textContent = label
    const badges = make('g', {})
    const node = make(
      'g',
      { class: 'node', 'data-kind': kind },
      make('rect', { x, y, width: WIDTH, height: HEIGHT, rx: kind === 'consumer' ? 16 : 8 }),
      title,
      note,
      badges,
    )
    this.#nodes.set(name, { node, note, badges, x, y })
    this.#svg.append(node)
  }

  /** Show the broker's description. */
  describe({ channels, consumers }) {
    for (const { name, next, rate, scheduled } of channels) {
      const node = this.#nodes.get(name)
      if (node !== undefined)
        node.note.textContent = `${next.toLocaleString('en')} ${next === 1 ? 'event' : 'events'}${scheduled > 0 ? ` · ${scheduled} later` : rate >= 0.05 ? ` · ${rate.toFixed(1)}/s` : ''}`
    }
    for (const consumer of consumers) {
      const node = this.#nodes.get(`c:${consumer.name}`)
      if (node === undefined) continue
      const lag = consumer.channels.reduce((sum, channel) => sum + channel.lag, 0)
      node.note.textContent = `${consumer.stalled ? 'stalled' : consumer.instances === 0 ? 'stopped' : `lag ${lag}`} · ${consumer.rate.toFixed(1)}/s`
      node.badges.replaceChildren()
      const right = this.#badge(node, node.x + WIDTH + 6, consumer.deadLetters, 'dead')
      this.#badge(node, right, consumer.retrying, 'retrying')
    }
  }

  /** A badge on the node's upper edge that ends at `right`. Returns where the next one ends. */
  #badge({ badges, y }, right, count, word) {
    if (count === 0) return right
    const text = make('text', { x: right - 8, y: y + 2, 'text-anchor': 'end' })
    text.textContent = `${count} ${word}`
    const width = text.textContent.length * 6 + 16
    badges.append(
      make(
        'g',
        { class: `badge ${word}` },
        make('rect', { x: right - width, y: y - 11, width, height: 18, rx: 9 }),
        text,
      ),
    )
    return right - width - 4
  }

  /** Let an event travel to its channel, and from there to its consumers. */
  async arrive(channel, type) {
    const way = WAYS[type] ?? WAYS[channel]
    if (way === undefined || this.#still || document.hidden || this.#pulses >= PULSES_MAX) return
    const [to, onward] = way
    await this.#travel(to)
    this.#light(channel)
    await Promise.all(onward.map((edge) => this.#travel(edge)))
  }

  #light(name) {
    const { node } = this.#nodes.get(name) ?? {}
    node?.setAttribute('data-active', '')
    setTimeout(() => node?.removeAttribute('data-active'), 300)
  }

  #travel(step) {
    const back = step.startsWith('-')
    const { path, from, to } = this.#edges.get(back ? step.slice(1) : step)
    const length = path.getTotalLength()
    const pulse = make('circle', { class: 'pulse', r: 5.5 })
    const started = performance.now()
    this.#svg.append(pulse)
    this.#pulses++
    return new Promise((resolve) => {
      const move = (now) => {
        const part = Math.min(1, (now - started) / PULSE_MS)
        const eased = part * part * (3 - 2 * part)
        const { x, y } = path.getPointAtLength(length * (back ? 1 - eased : eased))
        pulse.setAttribute('cx', x)
        pulse.setAttribute('cy', y)
        if (part < 1) return requestAnimationFrame(move)
        pulse.remove()
        this.#pulses--
        this.#light(back ? from : to)
        resolve()
      }
      requestAnimationFrame(move)
    })
  }
}
