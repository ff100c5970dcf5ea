/** What a page needs to talk to a broker: HTTP to publish, Server-Sent Events to follow. No library is needed. */

/**
 * Publish one event; resolves with its receipt when it is durable. A retry uses the same id, so the event is stored
 * once.
 */
export async function publish(channel, type, data) {
  const event = {
    specversion: '1.0',
    id: crypto.randomUUID(),
    source: '/storefront',
    type,
    time: new Date().toISOString(),
    data,
  }
  const init = {
    method: 'POST',
    headers: { 'content-type': 'application/cloudevents+json' },
    body: JSON.stringify(event),
  }
  for (let attempt = 1; ; attempt++) {
    try {
      const answer = await fetch(`/channels/${channel}/events`, init)
      if (answer.ok) return (await answer.json()).receipts[0]
      const problem = await answer.json().catch(() => ({ detail: `the server answered ${answer.status}` }))
      if (!problem.retryable || attempt === 5) throw Object.assign(new Error(problem.detail), { final: true })
    } catch (error) {
      if (error.final || attempt === 5) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, 200 * 2 ** attempt))
  }
}

/**
 * Follow several channels over one connection. `on(channel, event, offset)` is called for each event, and
 * `onState(connected)` when the connection is made or lost. The browser reconnects by itself, and the server continues
 * at the same position.
 */
export function follow(channels, { from = 'end', where, on, onState = () => {} }) {
  const query = new URLSearchParams({ from, ...(where && { where: JSON.stringify(where) }) })
  const source = new EventSource(`/channels/${channels.join(',')}/stream?${query}`)
  source.onopen = () => onState(true)
  source.onerror = () => onState(false)
  for (const channel of channels) {
    source.addEventListener(channels.length === 1 ? 'message' : channel, (message) => {
      const offset = Number(
        /(?:^|,)(?:[^,=]+=)?(\d+)$/.exec(
          message.lastEventId.split(',').find((part) => !part.includes('=') || part.startsWith(`${channel}=`)) ?? '',
        )?.[1],
      )
      on(channel, JSON.parse(message.data), offset)
    })
  }
  addEventListener('pagehide', () => source.close())
  return source
}

export async function getJson(path, init) {
  const answer = await fetch(path, init)
  const body = await answer.json()
  if (!answer.ok) throw new Error(body.detail ?? `the server answered ${answer.status}`)
  return body
}

/** Make an element. Content from events is always text, never markup. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else if (name === 'class') element.className = value
    else if (name === 'data') Object.assign(element.dataset, value)
    else if (value === true) element.setAttribute(name, '')
    else if (value !== false && value !== undefined && value !== null) element.setAttribute(name, value)
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false))
  return element
}

export const euros = (cents) => `€${(cents / 100).toFixed(2)}`
export const clock = (text) =>
  new Date(text).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' })

/** The word in the header that shows whether events arrive. */
export function showState(connected) {
  const element = document.querySelector('[data-connection]')
  element.dataset.connection = connected ? 'on' : 'off'
  element.textContent = connected ? 'connected' : 'reconnecting …'
}
