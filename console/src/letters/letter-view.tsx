/** One dead letter: its failure and its event. Redrive it, drop it, or publish a corrected event in its place. */
import { type ReactNode, useState } from 'react'
import { api, type Call } from '../api/client.ts'
import type { CloudEvent, DeadLetter } from '../api/types.ts'
import { Act } from '../parts/act.tsx'
import { useAsked } from '../parts/async.ts'
import { shellWord } from '../parts/commands.tsx'
import { Confirm } from '../parts/dialog.tsx'
import { ago, numbered, plain } from '../parts/format.ts'
import { JsonView } from '../parts/json-view.tsx'
import { Empty, Problem, Waiting } from '../parts/notice.tsx'
import { go, To } from '../shell/route.tsx'
import { differences, editedEvent } from './edited.ts'

interface Which {
  readonly consumer: string
  readonly channel: string
  readonly offset: number
}

export function LetterView({ consumer, channel, offset }: Which): ReactNode {
  const path = `api/consumers/${encodeURIComponent(consumer)}/dead-letters`
  const { value, problem, again } = useAsked(
    (signal) => api<{ readonly deadLetters: readonly DeadLetter[] }>({ path, query: { channel, offset } }, signal),
    [path, channel, offset],
  )
  const [asking, setAsking] = useState<'redrive' | 'drop' | 'edit' | null>(null)
  if (problem !== null) return <Problem of={problem} again={again} />
  if (value === undefined) return <Waiting what="the dead letter" />
  const [letter] = value.deadLetters
  if (letter === undefined)
    return (
      <Empty title="It is no dead letter any more">
        <p>It was redriven or dropped.</p>
        <To to={{ view: 'event', name: channel, offset }}>Look at the event</To>
      </Empty>
    )
  const over = (): void => go({ view: 'letters', consumer })
  return (
    <div className="page">
      <div className="page-head">
        <h1>
          <bdi>{plain(letter.failure.name, 120)}</bdi>
        </h1>
        <span className="muted">
          <bdi>{plain(letter.type, 80)}</bdi>, {numbered(letter.attempts, 'attempt')} of{' '}
          <bdi>{plain(consumer, 60)}</bdi>, {ago(letter.deadAtMs)}
        </span>
        <span className="row wrap end">
          <To to={{ view: 'event', name: channel, offset }} className="button">
            The event
          </To>
          <Act action="publish" of={{ channel }} onClick={() => setAsking('edit')}>
            Edit …
          </Act>
          <Act action="manage" of={{ channel }} className="danger" onClick={() => setAsking('drop')}>
            Drop …
          </Act>
          <Act action="manage" of={{ channel }} className="primary" onClick={() => setAsking('redrive')}>
            Redrive …
          </Act>
        </span>
      </div>
      {letter.waiting > 0 && (
        <p className="notice warn">
          {letter.waiting} events of key {plain(letter.key ?? '', 80)} wait behind it.
        </p>
      )}
      <section className="card stack" aria-label="Failure">
        <p>
          <bdi>{plain(letter.failure.message, 2000)}</bdi>
        </p>
        {letter.failure.stack !== undefined && <pre>{plain(letter.failure.stack, 6000)}</pre>}
      </section>
      <section className="card" aria-label="Event">
        <JsonView value={letter.event} open={3} />
      </section>
      {(asking === 'redrive' || asking === 'drop') && (
        <One letter={letter} verb={asking} close={() => setAsking(null)} done={over} />
      )}
      {asking === 'edit' && <Edit letter={letter} close={() => setAsking(null)} done={over} />}
    </div>
  )
}

interface Asking {
  readonly letter: DeadLetter
  readonly close: () => void
  readonly done: () => void
}

function One({
  letter: { consumer, channel, offset },
  verb,
  close,
  done,
}: Asking & { readonly verb: 'redrive' | 'drop' }): ReactNode {
  const call = (reason: string): Call => ({
    method: 'POST',
    path: `api/consumers/${encodeURIComponent(consumer)}/dead-letters/${verb}`,
    query: { channel, offset, reason },
  })
  return (
    <Confirm
      title={verb === 'redrive' ? 'Redrive this dead letter' : 'Drop this dead letter'}
      verb={verb === 'redrive' ? 'Redrive' : 'Drop'}
      danger={verb === 'drop'}
      close={close}
      call={call}
      command={() => `millrace dead ${verb} ${shellWord(consumer)} --channel ${shellWord(channel)} --offset ${offset}`}
      act={async (reason) => {
        await api(call(reason))
        done()
      }}
    >
      <p>
        {verb === 'redrive'
          ? 'It is given back to this consumer alone. What waits behind it follows.'
          : 'This consumer never handles it. What waits behind it continues.'}
      </p>
    </Confirm>
  )
}

function Edit({ letter, close, done }: Asking): ReactNode {
  const [text, setText] = useState(() => JSON.stringify(letter.event.data ?? null, null, 2))
  const data = parsed(text)
  const changes = data === undefined ? [] : differences(letter.event.data, data.value)
  const event = (reason: string): CloudEvent => editedEvent(letter.event, data?.value, changes, reason)
  const publish = (reason: string): Call => ({
    method: 'POST',
    path: `channels/${encodeURIComponent(letter.channel)}/events`,
    type: 'application/cloudevents+json',
    body: event(reason),
  })
  const act = async (reason: string): Promise<void> => {
    if (data === undefined) throw new Error('the data is not JSON: correct it first')
    if (changes.length === 0) throw new Error('nothing is changed: redrive the letter instead')
    await api(publish(reason))
    // The corrected event is stored, so the letter is dropped now. If that fails, the letter stays visible.
    const query = { channel: letter.channel, offset: letter.offset, reason: `replaced by ${event(reason).id}` }
    await api({ method: 'POST', path: `api/consumers/${encodeURIComponent(letter.consumer)}/dead-letters/drop`, query })
    done()
  }
  return (
    <Confirm
      title="Publish a corrected event"
      verb="Publish and drop the letter"
      close={close}
      call={publish}
      act={act}
    >
      <p className="muted">
        A new event is stored with this letter as its cause, and every consumer of {plain(letter.channel, 60)} gets it.
        The letter is then dropped.
      </p>
      <textarea
        aria-label="Data"
        rows={10}
        value={text}
        spellCheck={false}
        onChange={({ target }) => setText(target.value)}
      />
      {data === undefined ? (
        <p className="bad">This is not JSON.</p>
      ) : (
        <ul className="changes" aria-label="Changes">
          {changes.slice(0, 20).map(({ path, before, after }) => (
            <li key={path} className="mono">
              {plain(path, 100)}: <del>{plain(before, 100)}</del> <ins>{plain(after, 100)}</ins>
            </li>
          ))}
        </ul>
      )}
    </Confirm>
  )
}

function parsed(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) as unknown }
  } catch {
    return undefined
  }
}
