/** The live page: arriving events, the consumers' progress, dead letters, and the story of any event. */
import { Flow } from '/assets/flow.js'
import { clock, euros, follow, getJson, h, showState } from '/assets/millrace.js'

const ROWS_MAX = 80
const KNOWN_MAX = 2000
const CHANNELS = ['carts', 'stock', 'deliveries', 'prices', 'orders', 'mail', 'letters', 'github', 'activity']
const TONES = {
  carts: 'water',
  stock: 'leaf',
  deliveries: 'leaf',
  prices: 'wheat',
  orders: 'clay',
  mail: 'plum',
  letters: 'plum',
}
const $ = (name) => document.querySelector(`[data-${name}]`)

const flow = new Flow($('flow'))
/** Events seen, by channel and id, oldest first. */
const known = new Map()
let chosen = null
/** Until the user selects an event, the story of the latest click is shown. */
let chosenByHand = false
let shown = 'all'
let paused = false
let loadedAt = Date.now()

function summary({ type, data, partitionkey }) {
  if (type.startsWith('com.github.')) return partitionkey ?? ''
  if (type === 'repository.activity') return `${data.repository} · ${data.events} events`
  if (type === 'stock.changed') return `${data.sku} ${data.change > 0 ? '+' : ''}${data.change} → ${data.left}`
  if (type === 'cart.priced') return `${data.cart} · ${euros(data.totalCents)}`
  if (type === 'mail.sent') return `${data.subject}${data.attempts > 1 ? ` (attempt ${data.attempts})` : ''}`
  if (type === 'mail.requested') return data.subject
  return [data?.sku && `${data.quantity} × ${data.sku}`, data?.order, data?.cart].filter(Boolean).join(' · ')
}

function arrived(channel, event, offset) {
  const key = `${channel} ${event.id}`
  known.set(key, { channel, event, offset })
  if (known.size > KNOWN_MAX) known.delete(known.keys().next().value)
  if (Date.parse(event.time) > loadedAt - 3000) flow.arrive(channel, event.type)
  if (!chosenByHand && (channel === 'carts' || chosen === null)) choose(key)
  else if (chosen !== null) showStorySoon()
  if (paused || !isShown(channel)) return
  $('feed').prepend(row(key))
  while ($('feed').children.length > ROWS_MAX) $('feed').lastChild.remove()
  $('no-events').hidden = true
}

const isShown = (channel) =>
  shown === 'all' || (shown === 'github') === (channel === 'github' || channel === 'activity')

function row(key) {
  const { channel, event, offset } = known.get(key)
  const pick = () => {
    chosenByHand = true
    choose(key)
  }
  return h(
    'li',
    {},
    h(
      'button',
      { type: 'button', 'aria-pressed': String(chosen === key), data: { key }, onclick: pick },
      h('time', {}, clock(event.time)),
      h('span', {}, h('span', { class: 'chip', 'data-tone': TONES[channel] }, channel)),
      h('span', { class: 'type' }, event.type),
      h('span', { class: 'sum' }, summary(event)),
      h('span', { class: 'offset' }, `#${offset}`),
    ),
  )
}

function refill() {
  const rows = [...known]
    .filter(([, { channel }]) => isShown(channel))
    .sort(([, a], [, b]) => Date.parse(a.event.time) - Date.parse(b.event.time))
    .slice(-ROWS_MAX)
  $('feed').replaceChildren(...rows.reverse().map(([key]) => row(key)))
  $('no-events').hidden = rows.length > 0
}

function choose(key) {
  chosen = key
  for (const button of document.querySelectorAll('[data-feed] button'))
    button.setAttribute('aria-pressed', String(button.dataset.key === key))
  showStory()
}

let storyAt = 0

/** Events arrive fast, so the story is drawn at most a few times per second. */
function showStorySoon() {
  if (storyAt !== 0) return
  storyAt = setTimeout(() => {
    storyAt = 0
    showStory()
  }, 250)
}

/**
 * Everything that follows from one click or one webhook: the events with the same correlation id, as a tree of causes.
 */
function showStory() {
  const self = known.get(chosen)
  if (self === undefined) return
  const root = self.event.correlationid ?? self.event.id
  const all = [...known.values()].filter(({ event }) => event.id === root || event.correlationid === root)
  const began = Math.min(...all.map(({ event }) => Date.parse(event.time)))
  const rows = []
  const visit = (one, depth) => {
    rows.push([one, depth])
    for (const next of all)
      if (next.event.causationid === one.event.id && rows.every(([row]) => row !== next)) visit(next, depth + 1)
  }
  for (const one of all) if (one.event.id === root) visit(one, 0)
  // A queue removes completed events, so what they caused is attached to the root.
  for (const one of all)
    if (!all.some(({ event }) => event.id === one.event.causationid) && one.event.id !== root)
      visit(one, rows.length > 0 ? 1 : 0)
  $('no-story').hidden = true
  $('story').replaceChildren(
    ...rows.map(([{ channel, event }, depth]) => {
      const row = h(
        'li',
        { 'data-self': event.id === self.event.id && channel === self.channel },
        h('span', { class: 'chip', 'data-tone': TONES[channel] }, channel),
        h('span', { class: 'type' }, event.type),
        h('span', { class: 'ms' }, `+${Date.parse(event.time) - began} ms`),
      )
      row.style.paddingLeft = `${depth * 22}px`
      return row
    }),
  )
  $('json').hidden = false
  $('json').textContent = JSON.stringify(self.event, null, 2)
}

async function describe() {
  const description = await getJson('/api/describe')
  flow.describe(description)
  const sum = (items, of) => items.reduce((total, item) => total + of(item), 0)
  const { channels, consumers } = description
  number('rate', sum(channels, (channel) => channel.rate).toFixed(1))
  number('stored', sum(channels, (channel) => channel.next).toLocaleString('en'))
  number('lag', sum(consumers, (consumer) => sum(consumer.channels, (channel) => channel.lag)).toLocaleString('en'))
  number(
    'retrying',
    sum(consumers, (consumer) => consumer.retrying),
  )
  const dead = sum(consumers, (consumer) => consumer.deadLetters)
  number('dead', dead)
  document.querySelector('[data-number="dead"]').parentElement.toggleAttribute('data-alert', dead > 0)
  await deadLetters(consumers.filter((consumer) => consumer.deadLetters > 0))
}

function number(name, text) {
  document.querySelector(`[data-number="${name}"]`).textContent = text
}

let shownDead = ''

async function deadLetters(consumers) {
  const lists = await Promise.all(consumers.map(({ name }) => getJson(`/api/consumers/${name}/dead-letters?limit=20`)))
  const letters = lists.flatMap(({ deadLetters: some }) => some)
  const now = letters.map(({ consumer, id }) => `${consumer} ${id}`).join()
  if (now === shownDead) return
  shownDead = now
  $('no-dead').hidden = letters.length > 0
  $('dead').replaceChildren(
    ...letters.map((letter) => {
      const path = `/api/consumers/${letter.consumer}/dead-letters`
      const query = new URLSearchParams({ channel: letter.channel, offset: letter.offset })
      const act = (label, action) =>
        h(
          'button',
          {
            type: 'button',
            class: 'quiet',
            onclick: () =>
              getJson(`${path}/${action}?${query}`, { method: 'POST' }).then(describe, () => showState(false)),
          },
          label,
        )
      return h(
        'li',
        {},
        h(
          'div',
          {},
          h('span', { class: 'chip', 'data-tone': 'clay' }, letter.consumer),
          ` ${letter.type} · ${summary(letter.event)}`,
        ),
        h(
          'div',
          { class: 'why' },
          `${letter.failure.message} — after ${letter.attempts} ${letter.attempts === 1 ? 'attempt' : 'attempts'}, ${clock(letter.deadAtMs)}`,
        ),
        h('div', { class: 'acts' }, act('Redrive', 'redrive'), act('Drop', 'drop')),
      )
    }),
  )
}

$('pause').addEventListener('click', () => {
  paused = !paused
  $('pause').textContent = paused ? 'Go on' : 'Pause'
  $('pause').setAttribute('aria-pressed', String(paused))
  if (!paused) refill()
})
for (const button of document.querySelectorAll('[data-show]')) {
  button.addEventListener('click', () => {
    shown = button.dataset.show
    for (const other of document.querySelectorAll('[data-show]'))
      other.setAttribute('aria-pressed', String(other === button))
    refill()
  })
}
document.addEventListener('visibilitychange', () => {
  loadedAt = Date.now()
})

// Older events arrive channel by channel: they are put in order after that.
setTimeout(refill, 800)
follow(CHANNELS, { from: '10m', on: arrived, onState: showState })
for (;;) {
  await describe().catch(() => showState(false))
  await new Promise((resolve) => setTimeout(resolve, 1000))
}
