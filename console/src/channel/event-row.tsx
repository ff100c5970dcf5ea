/** One event as a line of a list. */
import type { ReactNode } from 'react'
import { brief, clock, plain } from '../parts/format.ts'
import { To } from '../shell/route.tsx'
import type { EventAt } from './event-pages.ts'

export function EventRow({
  channel,
  offset,
  event,
}: {
  readonly channel: string
  readonly offset: number
  readonly event: EventAt
}): ReactNode {
  if (event === undefined || event === null)
    return (
      <span className="event-row muted">
        <span className="event-offset">{offset}</span>
        <span>{event === null ? 'not kept any more' : '…'}</span>
      </span>
    )
  return (
    <To to={{ view: 'event', name: channel, offset }} className="event-row">
      <span className="event-offset">{offset}</span>
      <span className="event-time">{clock(event.time)}</span>
      <bdi className="event-type">{plain(event.type, 80)}</bdi>
      <bdi className="event-key">{plain(event.partitionkey ?? event.subject ?? '', 60)}</bdi>
      <bdi className="event-data">
        {event.data_base64 === undefined ? brief(event.data) : `${event.data_base64.length} characters of base64`}
      </bdi>
    </To>
  )
}

export function EventRowHead(): ReactNode {
  return (
    <div className="event-row event-head" aria-hidden="true">
      <span className="event-offset">Offset</span>
      <span className="event-time">Time</span>
      <span className="event-type">Type</span>
      <span className="event-key">Key or subject</span>
      <span className="event-data">Data</span>
    </div>
  )
}
