/** A channel: its events as they arrive, or a search through them. */
import { type FormEvent, lazy, type ReactNode, Suspense, useId, useState } from 'react'
import type { ChartSpec } from '../history/charts.tsx'
import { useNumbers, useStructure } from '../live/live-flow.ts'
import { AskWhy } from '../parts/ask-why.tsx'
import { shellWord } from '../parts/commands.tsx'
import { bytes, count, plain, rate } from '../parts/format.ts'
import { Waiting } from '../parts/notice.tsx'
import { To, useQuery } from '../shell/route.tsx'
import { LiveTable } from './live-table.tsx'
import { NO_TERMS, Search, type SearchTerms } from './search.tsx'

const Charts = lazy(() => import('../history/charts.tsx'))

const CHARTS: readonly ChartSpec[] = [
  {
    title: 'Published a second',
    value: rate,
    lines: [{ label: 'published', figure: 'published', colour: '--channel' }],
  },
  { title: 'Size', value: bytes, lines: [{ label: 'size', figure: 'bytes', colour: '--source' }] },
  { title: 'Delayed', value: count, lines: [{ label: 'not due yet', figure: 'scheduled', colour: '--rule' }] },
]

export default function ChannelView(): ReactNode {
  const query = useQuery()
  const channel = query.get('name')
  const at = query.get('offset')
  const terms = termsIn(query.all)
  const searching = Object.values(terms).some((term) => term !== '')
  return (
    <div className="page channel">
      <Head channel={channel} />
      {query.get('why') === 'yes' && (
        <AskWhy
          question="Why is publishing slow?"
          call={{ path: `channels/${encodeURIComponent(channel)}/why-publish` }}
          command={`millrace why publish ${shellWord(channel)}`}
        />
      )}
      {query.get('charts') === 'yes' && (
        <Suspense fallback={<Waiting what="the charts" />}>
          <Charts path={`channels/${encodeURIComponent(channel)}`} charts={CHARTS} />
        </Suspense>
      )}
      <SearchForm
        key={JSON.stringify(terms)}
        terms={terms}
        search={(next) => query.set({ ...next }, { replace: false })}
      />
      {searching ? (
        <Search channel={channel} terms={terms} />
      ) : (
        <LiveTable key={at} channel={channel} from={/^\d+$/.test(at) ? Number(at) : null} />
      )}
    </div>
  )
}

function termsIn(all: Readonly<Record<string, string>>): SearchTerms {
  const names = Object.keys(NO_TERMS) as (keyof SearchTerms)[]
  return Object.fromEntries(names.map((name) => [name, all[name] ?? ''])) as unknown as SearchTerms
}

function Head({ channel }: { readonly channel: string }): ReactNode {
  const query = useQuery()
  const numbers = useNumbers(`channel:${channel}`)
  const structure = useStructure()
  const kind = structure?.parts.find(({ id }) => id === `channel:${channel}`)?.detail
  const readers = structure?.lines.filter(({ from }) => from === `channel:${channel}`).map(({ to }) => to) ?? []
  return (
    <div className="page-head">
      <h1>
        <bdi>{plain(channel, 120)}</bdi>
      </h1>
      <span className="muted">
        {kind} · {rate(numbers.rate ?? 0)} · {bytes(numbers.bytes)}
        {(numbers.scheduled ?? 0) > 0 && ` · ${count(numbers.scheduled ?? 0)} delayed`}
      </span>
      <span className="row wrap end">
        {readers
          .filter((id) => id.startsWith('consumer:'))
          .slice(0, 4)
          .map((id) => (
            <To key={id} to={{ view: 'consumer', name: id.slice(9) }} className="badge">
              {plain(id.slice(9), 40)}
            </To>
          ))}
        <button
          type="button"
          aria-pressed={query.get('charts') === 'yes'}
          onClick={() => query.set({ charts: query.get('charts') === 'yes' ? null : 'yes' })}
        >
          Charts
        </button>
        <button
          type="button"
          aria-pressed={query.get('why') === 'yes'}
          onClick={() => query.set({ why: query.get('why') === 'yes' ? null : 'yes' })}
        >
          Slow?
        </button>
        <To to={{ part: `channel:${channel}`, around: `channel:${channel}` }} className="button">
          In the flow
        </To>
        <To to={{ view: 'catalogue', find: channel }} className="button">
          Event types
        </To>
        <To to={{ view: 'publish', name: channel }} className="button">
          Publish
        </To>
      </span>
    </div>
  )
}

const FIELDS: readonly { readonly name: keyof SearchTerms; readonly label: string; readonly hint: string }[] = [
  { name: 'filter', label: 'CloudEvents SQL', hint: "type LIKE 'order.%' AND EXISTS subject" },
  { name: 'where', label: 'Event pattern', hint: '{"data":{"total":[{"numeric":[">",100]}]}}' },
  { name: 'key', label: 'Key', hint: 'exact' },
  { name: 'id', label: 'Id', hint: 'exact' },
  { name: 'from', label: 'From', hint: '1h, a time, an offset' },
  { name: 'to', label: 'To', hint: 'the same' },
]

function SearchForm({
  terms,
  search,
}: {
  readonly terms: SearchTerms
  readonly search: (terms: SearchTerms) => void
}): ReactNode {
  const [edited, setEdited] = useState(terms)
  const [open, setOpen] = useState(false)
  const id = useId()
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    search(edited)
  }
  const used = Object.values(terms).some((term) => term !== '')
  const shown = open || used ? FIELDS : FIELDS.slice(0, 1)
  return (
    <form className="search card" onSubmit={submit}>
      {shown.map(({ name, label, hint }) => (
        <div key={name} className={`field field-${name}`}>
          <label htmlFor={`${id}${name}`}>{label}</label>
          <input
            id={`${id}${name}`}
            className={name === 'filter' || name === 'where' ? 'mono' : undefined}
            placeholder={hint}
            value={edited[name]}
            onChange={({ target }) => setEdited({ ...edited, [name]: target.value })}
          />
        </div>
      ))}
      <div className="row search-end">
        <button type="submit" className="primary">
          Search
        </button>
        {!open && !used && (
          <button type="button" className="quiet" onClick={() => setOpen(true)}>
            More
          </button>
        )}
        {used && (
          <button type="button" onClick={() => search(NO_TERMS)}>
            Clear
          </button>
        )}
      </div>
    </form>
  )
}
