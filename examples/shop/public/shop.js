/** The storefront: a click is an event, and everything that is shown comes back as events. */
import { clock, euros, follow, getJson, h, publish, showState } from '/assets/millrace.js'
import { picture } from '/assets/pictures.js'

const TRAIL_MAX = 7
const $ = (name) => document.querySelector(`[data-${name}]`)

const cart = localStorage.getItem('cart') ?? `c-${crypto.randomUUID().slice(0, 8)}`
localStorage.setItem('cart', cart)
/** When the events of this page were published, by id: what follows from them carries it as correlation id. */
const clickedAt = new Map()
const shelves = new Map()
const orders = new Map()

async function act(type, data) {
  const at = performance.now()
  try {
    const receipt = await publish('carts', type, { cart, ...data })
    clickedAt.set(receipt.id, at)
    trail(receipt.channel, type, performance.now() - at)
  } catch (error) {
    complain(error.message)
  }
}

function complain(message) {
  document.querySelector('.notice')?.remove()
  document.body.append(h('p', { class: 'notice', role: 'alert' }, `That did not work: ${message}`))
  setTimeout(() => document.querySelector('.notice')?.remove(), 6000)
}

const TONES = { carts: 'water', stock: 'leaf', prices: 'wheat', orders: 'clay', letters: 'plum' }

function trail(channel, type, ms) {
  $('no-trail').hidden = true
  const time = ms === undefined ? '' : ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`
  $('trail').prepend(
    h(
      'li',
      {},
      h('span', { class: 'chip', 'data-tone': TONES[channel] }, channel),
      h('span', {}, type),
      h('span', { class: 'ms' }, time),
    ),
  )
  while ($('trail').children.length > TRAIL_MAX) $('trail').lastChild.remove()
}

function showArticles(catalogue) {
  for (const article of catalogue) {
    const left = h('span', { class: 'left' }, `${article.stock} left`)
    const add = h(
      'button',
      {
        class: 'primary',
        'aria-label': `Add ${article.name} to the cart`,
        onclick: () => act('cart.item.added', { sku: article.sku, quantity: 1 }),
      },
      'Add to cart',
    )
    const text = h(
      'div',
      { class: 'text' },
      h('h3', {}, article.name),
      h('p', { class: 'about' }, article.about),
      h('p', { class: 'facts' }, h('span', { class: 'price' }, euros(article.cents)), left),
      add,
    )
    $('articles').append(h('li', { class: 'card article', data: { sku: article.sku } }, picture(article.sku), text))
    shelves.set(article.sku, { left, add })
  }
}

function showStock({ sku, left, onOrder }) {
  const shelf = shelves.get(sku)
  if (shelf === undefined) return
  shelf.left.textContent =
    left > 0 ? `${left} left${onOrder ? ', more soon' : ''}` : onOrder ? 'more coming soon' : 'sold out'
  shelf.left.toggleAttribute('data-low', left < 5)
  shelf.add.disabled = left <= 0
}

function showCart({ lines, discountCents, shippingCents, totalCents }) {
  const pieces = lines.reduce((sum, line) => sum + line.quantity, 0)
  $('count').textContent = pieces === 0 ? '' : pieces === 1 ? '1 piece' : `${pieces} pieces`
  $('empty').hidden = pieces > 0
  $('cartbar').hidden = pieces === 0
  $('cartbar').textContent = `Your cart · ${$('count').textContent} · ${euros(totalCents)}`
  $('checkout').hidden = pieces === 0
  const focused = document.activeElement?.dataset?.act
  $('lines').replaceChildren(...lines.map(showLine))
  if (focused) document.querySelector(`[data-act="${focused}"]`)?.focus()
  $('sums').replaceChildren(
    ...(pieces === 0
      ? []
      : [
          ...(discountCents > 0 ? [h('dt', {}, 'Three of a kind'), h('dd', {}, `−${euros(discountCents)}`)] : []),
          h('dt', {}, 'Delivery'),
          h('dd', {}, shippingCents === 0 ? 'free' : euros(shippingCents)),
          h('dt', { class: 'total' }, 'Total'),
          h('dd', { class: 'total' }, euros(totalCents)),
        ]),
  )
}

function showLine({ sku, name, quantity, totalCents }) {
  const step = (type, label, sign) =>
    h(
      'button',
      {
        type: 'button',
        'aria-label': `${label} ${name}`,
        data: { act: `${type}:${sku}` },
        onclick: () => act(type, { sku, quantity: 1 }),
      },
      sign,
    )
  const stepper = h(
    'span',
    { class: 'stepper' },
    step('cart.item.removed', 'Remove one', '−'),
    h('span', {}, String(quantity)),
    step('cart.item.added', 'Add one', '+'),
  )
  return h('li', {}, h('span', { class: 'name' }, name), stepper, h('span', { class: 'sum' }, euros(totalCents)))
}

function showOrder(event) {
  const { order } = event.data
  const known = orders.get(order) ?? { order, done: new Set(), mails: 0, at: event.time }
  orders.set(order, known)
  if (event.type === 'mail.sent') known.mails++
  else known.done.add(event.type)
  if (event.data.totalCents) known.totalCents = event.data.totalCents
  $('orders-panel').hidden = false
  const shown = [...orders.values()]
    .filter((one) => one.done.has('order.placed'))
    .slice(-3)
    .reverse()
  const steps = [
    ['order.placed', 'placed'],
    ['order.packed', 'packed'],
    ['order.shipped', 'on its way'],
  ]
  $('orders').replaceChildren(
    ...shown.map((one) =>
      h(
        'li',
        {},
        h('div', { class: 'head' }, h('span', {}, one.order), h('span', {}, euros(one.totalCents ?? 0))),
        h(
          'ol',
          { class: 'steps' },
          ...steps.map(([type, label]) => h('li', { 'data-done': one.done.has(type) }, label)),
        ),
        h(
          'p',
          { class: 'mails' },
          `${clock(one.at)} · ${one.mails === 0 ? 'no letter sent yet' : one.mails === 1 ? '1 letter sent' : `${one.mails} letters sent`}`,
        ),
      ),
    ),
  )
}

function arrived(channel, event) {
  if (channel === 'stock') showStock(event.data)
  if (channel === 'prices' && event.data.cart === cart) showCart(event.data)
  if (channel === 'orders' || channel === 'letters') showOrder(event)
  const at = clickedAt.get(event.correlationid)
  if (at !== undefined) trail(channel, event.type, performance.now() - at)
}

$('checkout').addEventListener('submit', (submitted) => {
  submitted.preventDefault()
  act('cart.checked-out', { email: new FormData(submitted.target).get('email') })
})

showArticles(await getJson('/catalogue.json'))
// One connection: every change of the stock, and of the rest what is about this cart.
follow(['stock', 'prices', 'orders', 'letters'], {
  from: 'beginning',
  where: { $or: [{ type: ['stock.changed'] }, { data: { cart: [cart] } }] },
  on: arrived,
  onState: showState,
})
