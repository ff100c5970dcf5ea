/**
 * Publish an event by hand: a form made from the JSON Schema of its type or from a stored event, with the JSON beside
 * it.
 */
import { type ReactNode, useId } from 'react'
import { api } from '../api/client.ts'
import type { Page } from '../api/types.ts'
import { useStructure } from '../live/live-flow.ts'
import { useAsked } from '../parts/async.ts'
import { Problem, Waiting } from '../parts/notice.tsx'
import { useQuery } from '../shell/route.tsx'
import { type ChannelFacts, type Known, PublishForm } from './publish-form.tsx'

export default function PublishView(): ReactNode {
  const query = useQuery()
  const structure = useStructure()
  const field = useId()
  const channels =
    structure?.parts
      .filter(({ kind }) => kind === 'channel')
      .map(({ name }) => name)
      .sort() ?? []
  const channel = query.get('name')
  const like = query.get('offset')
  const { value, problem, again } = useAsked(
    (signal) => (channel === '' ? Promise.resolve(null) : knownOf(channel, like, signal)),
    [channel, like],
  )
  return (
    <div className="page">
      <div className="page-head">
        <h1>Publish an event</h1>
      </div>
      <div className="field channel-choice">
        <label htmlFor={field}>Channel</label>
        <select id={field} value={channel} onChange={({ target }) => query.set({ name: target.value, offset: null })}>
          <option value="">Choose one</option>
          {channels.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </div>
      {problem !== null && <Problem of={problem} again={again} />}
      {value === undefined && problem === null && <Waiting what="the channel" />}
      {value != null && <PublishForm key={`${channel}/${like}`} known={value} />}
    </div>
  )
}

async function knownOf(channel: string, like: string, signal: AbortSignal): Promise<Known> {
  const name = encodeURIComponent(channel)
  const facts = await api<ChannelFacts>({ path: `api/channels/${name}` }, signal)
  const from = like === '' ? Math.max(facts.first, facts.next - 50) : Number(like)
  const query = { from, to: like === '' ? facts.next : from + 1 }
  const { events } =
    facts.next > facts.first ? await api<Page>({ path: `channels/${name}/events`, query }, signal) : { events: [] }
  const byType = new Map(events.map(({ event }) => [event.type, event]))
  return { facts, examples: [...byType.values()].reverse() }
}
