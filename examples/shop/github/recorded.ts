/** GitHub's recorded webhook payloads (npm: @octokit/webhooks-examples) as CloudEvents. */
import { createRequire } from 'node:module'
import type { UntypedEvent } from 'millrace'

interface Payload {
  readonly action?: string
  readonly repository?: { readonly full_name: string; readonly html_url: string }
  readonly organization?: { readonly login: string }
  readonly sender?: { readonly login: string }
}

interface Recorded {
  readonly name: string
  readonly examples: readonly Payload[]
}

/** Every recorded webhook, always in the same order and with the same ids; `sequence` is its number. */
export function recordedWebhooks(): readonly UntypedEvent[] {
  const kinds = createRequire(import.meta.url)('@octokit/webhooks-examples') as readonly Recorded[]
  const rounds = Math.max(...kinds.map((kind) => kind.examples.length))
  const events: UntypedEvent[] = []
  // One of each kind in turn, for a realistic mix.
  for (let round = 0; round < rounds; round++) {
    for (const { name, examples } of kinds) {
      const payload = examples[round]
      if (payload !== undefined) events.push(asEvent(name, payload, events.length))
    }
  }
  return events
}

function asEvent(name: string, payload: Payload, index: number): UntypedEvent {
  const place = payload.repository?.full_name ?? payload.organization?.login ?? payload.sender?.login ?? 'github'
  return {
    id: `recorded-${String(index).padStart(5, '0')}`,
    source: payload.repository?.html_url ?? `https://github.com/${place}`,
    type: payload.action === undefined ? `com.github.${name}` : `com.github.${name}.${payload.action}`,
    partitionkey: place,
    extensions: { sequence: String(index).padStart(10, '0') },
    data: payload,
  }
}
