/** The activity of each repository, as the consumer `activity` records it. */
import { follow, h, showState } from '/assets/millrace.js'

const KINDS_MAX = 5
const $ = (name) => document.querySelector(`[data-${name}]`)
const repositories = new Map()

function show({ repository, url, events, kinds, actors, last }, fresh) {
  const old = repositories.get(repository)?.card
  const most = Math.max(...Object.values(kinds))
  const sorted = Object.entries(kinds).sort((a, b) => b[1] - a[1])
  const bars = sorted.slice(0, KINDS_MAX).flatMap(([kind, count]) => {
    const bar = h('div', { class: 'bar' })
    bar.style.width = `${Math.max(6, (100 * count) / most)}%`
    return [
      h('span', {}, kind.replaceAll('_', ' ')),
      h('div', { class: 'track', 'aria-hidden': 'true' }, bar),
      h('span', {}, String(count)),
    ]
  })
  const more = sorted.length - KINDS_MAX
  const safe = /^https:\/\/github\.com\//.test(url) ? url : 'https://github.com/'
  const card = h(
    'li',
    { class: 'card repo', 'data-fresh': fresh },
    h(
      'div',
      { class: 'head' },
      h('h3', {}, h('a', { href: safe, rel: 'noreferrer' }, repository)),
      h('span', { class: 'count', 'aria-label': `${events} events` }, String(events)),
    ),
    h('div', { class: 'bars' }, ...bars),
    h(
      'p',
      { class: 'last' },
      `${last.type.replace('com.github.', '')} by ${last.actor}${last.title ? `: ${last.title}` : ''}`,
      h('br'),
      `${actors.length} ${actors.length === 1 ? 'person' : 'people'}${more > 0 ? ` · ${more} more kinds of event` : ''}`,
    ),
  )
  card.style.order = String(-events)
  repositories.set(repository, { card, events })
  if (old === undefined) $('repos').append(card)
  else old.replaceWith(card)
}

let settled = false
setTimeout(() => {
  settled = true
}, 1500)

follow(['activity'], {
  from: 'beginning',
  on: (_, { data }) => {
    show(data, settled)
    $('no-repos').hidden = true
    const total = [...repositories.values()].reduce((sum, { events }) => sum + events, 0)
    $('totals').textContent = `${total} webhooks, ${repositories.size} repositories and organisations`
  },
  onState: showState,
})
