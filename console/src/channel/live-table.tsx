/**
 * The events of a channel as they arrive, the newest first. Only visible rows are in the page, and only their events
 * are loaded.
 */
import { useVirtualizer } from '@tanstack/react-virtual'
import { type ReactNode, useEffect, useRef, useState } from 'react'
import { useNumbers } from '../live/live-flow.ts'
import { count, exact } from '../parts/format.ts'
import { Empty, Problem } from '../parts/notice.tsx'
import { useEventPages } from './event-pages.ts'
import { EventRow, EventRowHead } from './event-row.tsx'

const ROW = 36
/** The most rows: browsers limit the height of a scrolled area. Older events are found by search or by offset. */
const ROWS_MAX = 400_000

export function LiveTable({ channel, from }: { readonly channel: string; readonly from: number | null }): ReactNode {
  const { first = 0, next: last = 0 } = useNumbers(`channel:${channel}`)
  const [held, setHeld] = useState<number | null>(from === null ? null : from + 1)
  const next = Math.min(held ?? last, last)
  const rows = Math.min(Math.max(0, next - first), ROWS_MAX)
  const pages = useEventPages(channel)
  const box = useRef<HTMLElement>(null)
  const virtual = useVirtualizer({
    count: rows,
    getScrollElement: () => box.current,
    estimateSize: () => ROW,
    overscan: 10,
  })
  const items = virtual.getVirtualItems()
  const [top, bottom] = [items[0]?.index ?? 0, items.at(-1)?.index ?? -1]
  useEffect(() => {
    if (bottom >= 0) pages.want(next - 1 - bottom, next - top, next)
  }, [pages, next, top, bottom])
  if (last === first) return <Empty title="The channel keeps no events" />
  const follow = (): void => {
    setHeld(null)
    box.current?.scrollTo({ top: 0 })
  }
  return (
    <>
      <div className="row wrap">
        <button type="button" aria-pressed={held === null} onClick={() => (held === null ? setHeld(next) : follow())}>
          {held === null ? 'Following' : 'Follow'}
        </button>
        {held !== null && last > next && (
          <button type="button" className="link" onClick={follow}>
            {count(last - next)} newer
          </button>
        )}
        <span className="muted end">
          {exact(last - first)} kept, offsets {first} to {last - 1}
        </span>
      </div>
      {pages.problem !== null && <Problem of={pages.problem} />}
      <section
        className="events"
        ref={box}
        aria-label={`Events of ${channel}`}
        onScroll={({ currentTarget }) => {
          // When a reader scrolls to older events, the list stops moving.
          if (held === null && currentTarget.scrollTop > ROW) setHeld(next)
        }}
      >
        <EventRowHead />
        <div className="events-all" style={{ height: virtual.getTotalSize() }}>
          {items.map(({ index, start, key }) => (
            <div key={key} className="events-row" style={{ transform: `translateY(${start}px)` }}>
              <EventRow channel={channel} offset={next - 1 - index} event={pages.at(next - 1 - index)} />
            </div>
          ))}
        </div>
      </section>
    </>
  )
}
