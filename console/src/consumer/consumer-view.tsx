/** One consumer: its lag, its position in each channel, and the actions on it. */
import { lazy, type ReactNode, Suspense, useState } from 'react'
import { api, type Call } from '../api/client.ts'
import type { ConsumerDescription, Description } from '../api/types.ts'
import type { ChartSpec } from '../history/charts.tsx'
import { troubleOf, useNumbers } from '../live/live-flow.ts'
import { Act } from '../parts/act.tsx'
import { AskWhy } from '../parts/ask-why.tsx'
import { useAsked } from '../parts/async.ts'
import { CopyAs, shellWord } from '../parts/commands.tsx'
import { Confirm } from '../parts/dialog.tsx'
import { ago, count, exact, plain, rate, span } from '../parts/format.ts'
import { Empty, Problem, Waiting } from '../parts/notice.tsx'
import { To, useQuery } from '../shell/route.tsx'
import { Retries } from './retries.tsx'
import { Rewind } from './rewind.tsx'

const Charts = lazy(() => import('../history/charts.tsx'))

const PERCENTILES = [
  ['p50', '--channel'],
  ['p95', '--rule'],
  ['p99', '--bad'],
] as const

const percentiles = (figure: string): ChartSpec['lines'] =>
  PERCENTILES.map(([label, colour]) => ({ label, figure: `${figure}P${label.slice(1)}`, colour }))

const CHARTS: readonly ChartSpec[] = [
  { title: 'Events behind', value: count, lines: [{ label: 'behind', figure: 'lag', colour: '--accent' }] },
  { title: 'Oldest waits', value: span, lines: [{ label: 'oldest', figure: 'lagMs', colour: '--accent' }] },
  {
    title: 'Events a second',
    value: rate,
    lines: [
      { label: 'done', figure: 'completed', colour: '--channel' },
      { label: 'retried', figure: 'retried', colour: '--rule' },
      { label: 'dead', figure: 'deadLettered', colour: '--bad' },
    ],
  },
  { title: 'From publish to done', value: span, lines: percentiles('latency') },
  { title: 'Handler', value: span, lines: percentiles('duration') },
  {
    title: 'In hand',
    value: count,
    lines: [
      { label: 'in flight', figure: 'inFlight', colour: '--consumer' },
      { label: 'waiting for a retry', figure: 'retrying', colour: '--rule' },
      { label: 'instances', figure: 'instances', colour: '--source' },
    ],
  },
]

export default function ConsumerView(): ReactNode {
  const query = useQuery()
  const name = query.get('name')
  const describe: Call = { path: 'api/describe' }
  const { value, problem, again } = useAsked((signal) => api<Description>(describe, signal), [name], 2000)
  const [asking, setAsking] = useState<'pause' | 'resume' | 'rewind' | null>(null)
  if (problem !== null && value === undefined) return <Problem of={problem} again={again} />
  if (value === undefined) return <Waiting what="the consumer" />
  const consumer = value.consumers.find((one) => one.name === name)
  if (consumer === undefined)
    return (
      <Empty title={`There is no consumer ${plain(name, 80)}`}>
        <To to={{ view: 'consumers' }}>Look at those there are</To>
      </Empty>
    )
  const over = (): void => {
    setAsking(null)
    again()
  }
  return (
    <div className="page">
      <div className="page-head">
        <h1>
          <bdi>{plain(name, 120)}</bdi>
        </h1>
        <State name={name} />
        <span className="row wrap end">
          <CopyAs command="millrace consumers --json" call={describe} />
          {consumer.deadLetters > 0 && (
            <To to={{ view: 'letters', consumer: name }} className="button">
              {exact(consumer.deadLetters)} dead letters
            </To>
          )}
          <Act
            action="manage"
            of={{ consumer: consumer.name }}
            onClick={() => setAsking(consumer.pause === null ? 'pause' : 'resume')}
          >
            {consumer.pause === null ? 'Pause' : 'Resume'}
          </Act>
          <Act action="manage" of={{ consumer: consumer.name }} onClick={() => setAsking('rewind')}>
            Rewind
          </Act>
        </span>
      </div>
      {problem !== null && <Problem of={problem} again={again} />}
      <Why consumer={consumer} />
      <AskWhy
        question="Why does it not move?"
        call={{ path: `api/consumers/${encodeURIComponent(name)}/why` }}
        command={`millrace why consumer ${shellWord(name)}`}
      />
      <Suspense fallback={<Waiting what="the charts" />}>
        <Charts path={`consumers/${encodeURIComponent(name)}`} charts={CHARTS} />
      </Suspense>
      <div className="columns">
        <Positions consumer={consumer} />
        <Facts consumer={consumer} />
      </div>
      {consumer.retrying > 0 && <Retries consumer={name} retrying={consumer.retrying} />}
      {(asking === 'pause' || asking === 'resume') && (
        <Switch consumer={name} verb={asking} close={() => setAsking(null)} done={over} />
      )}
      {asking === 'rewind' && <Rewind consumer={name} close={() => setAsking(null)} done={over} />}
    </div>
  )
}

function State({ name }: { readonly name: string }): ReactNode {
  const trouble = troubleOf(useNumbers(`consumer:${name}`))
  return trouble === null ? (
    <span className="badge good">ok</span>
  ) : (
    <span className={`badge ${trouble.level}`}>{trouble.text}</span>
  )
}

function Why({
  consumer: { stalled, pause, paused, instances, channels },
}: {
  readonly consumer: ConsumerDescription
}): ReactNode {
  const behind = channels.reduce((sum, { lag }) => sum + lag, 0)
  const words =
    pause !== null
      ? `Paused ${ago(pause.sinceMs)}${pause.by === null ? '' : ` by ${pause.by}`} in every process, until it is resumed${pause.reason === null ? '.' : `: ${pause.reason}`}`
      : paused
        ? 'Each of its instances is paused by its own process.'
        : stalled !== null
          ? `It has work and has made no progress since ${ago(stalled.sinceMs)}: ${stalled.reason}`
          : instances === 0 && behind > 0
            ? 'No instance of it runs: start the application that has it.'
            : null
  return words === null ? null : <p className="notice warn">{plain(words, 600)}</p>
}

function Positions({ consumer }: { readonly consumer: ConsumerDescription }): ReactNode {
  return (
    <section className="table-box" aria-label="Positions">
      <table>
        <thead>
          <tr>
            <th>Channel</th>
            <th className="number">Settled below</th>
            <th className="number">Behind</th>
            <th className="number">Since it began or was moved</th>
            <th className="number">Oldest waits</th>
          </tr>
        </thead>
        <tbody>
          {consumer.channels.map(({ channel, began, floor, lag, lagMs }) => (
            <tr key={channel}>
              <td>
                <To to={{ view: 'channel', name: channel, offset: floor }}>
                  <bdi>{plain(channel, 100)}</bdi>
                </To>
              </td>
              <td className="number">{exact(floor)}</td>
              <td className="number">{exact(lag)}</td>
              <td className="number">
                <Progress began={began} floor={floor} lag={lag} rate={consumer.rate} />
              </td>
              <td className="number">{span(lagMs)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

/** How much of the way since the last rewind, or since the beginning, is done. */
function Progress({
  began,
  floor,
  lag,
  rate: perSecond,
}: {
  readonly began: number | null
  readonly floor: number
  readonly lag: number
  readonly rate: number
}): ReactNode {
  if (began === null) return null
  const done = Math.max(0, floor - began)
  const whole = done + lag
  if (lag === 0 || whole === 0) return <span className="muted">done</span>
  const left = perSecond > 0 ? `, about ${span((lag / perSecond) * 1000)} left` : ''
  return (
    <span>
      <progress value={done} max={whole} aria-label="Handled since it began or was moved" />{' '}
      {Math.floor((done / whole) * 100)} % of {exact(whole)}
      {left}
    </span>
  )
}

function Facts({ consumer }: { readonly consumer: ConsumerDescription }): ReactNode {
  const facts: readonly (readonly [string, string])[] = [
    ['Instances, in all processes', exact(consumer.instances)],
    ['In flight', exact(consumer.inFlight)],
    ['Waiting for a retry', exact(consumer.retrying)],
    ['Done a second', rate(consumer.rate)],
    ['Dead letters', exact(consumer.deadLetters)],
    ['Parked behind them', exact(consumer.parked)],
  ]
  return (
    <section className="card" aria-label="Numbers">
      <dl>
        {facts.map(([label, value]) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  )
}

function Switch({
  consumer,
  verb,
  close,
  done,
}: {
  readonly consumer: string
  readonly verb: 'pause' | 'resume'
  readonly close: () => void
  readonly done: () => void
}): ReactNode {
  const call = (reason: string): Call => ({
    method: 'POST',
    path: `api/consumers/${encodeURIComponent(consumer)}/${verb}`,
    body: { reason },
  })
  return (
    <Confirm
      title={verb === 'pause' ? `Pause ${plain(consumer, 80)}` : `Resume ${plain(consumer, 80)}`}
      verb={verb === 'pause' ? 'Pause' : 'Resume'}
      close={close}
      call={call}
      command={(reason) =>
        `millrace consumer ${verb} ${shellWord(consumer)}${reason === '' ? '' : ` --reason ${shellWord(reason)}`}`
      }
      act={async (reason) => {
        await api(call(reason))
        done()
      }}
    >
      <p>
        {verb === 'pause'
          ? 'No instance of it, in any process, is given events until it is resumed. Running handlers end normally.'
          : 'It continues where it was.'}
      </p>
    </Confirm>
  )
}
