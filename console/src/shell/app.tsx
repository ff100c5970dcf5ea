/** The frame of every view: navigation, state of the connection, theme, command palette, sign-in. */
import { lazy, type ReactNode, Suspense, useEffect, useState, useSyncExternalStore } from 'react'
import { access } from '../api/client.ts'
import { live, useOf, useStatus, useStructure } from '../live/live-flow.ts'
import { plain } from '../parts/format.ts'
import { Waiting } from '../parts/notice.tsx'
import { Palette } from './palette.tsx'
import { To, useQuery } from './route.tsx'
import { SignIn } from './sign-in.tsx'
import { useTheme } from './theme.ts'

const views: Readonly<Record<string, { readonly title: string; readonly view: ReturnType<typeof lazy> }>> = {
  flow: { title: 'Flow', view: lazy(() => import('../flow/flow-view.tsx')) },
  channels: { title: 'Channels', view: lazy(() => import('../channel/channels-view.tsx')) },
  channel: { title: 'Channel', view: lazy(() => import('../channel/channel-view.tsx')) },
  event: { title: 'Event', view: lazy(() => import('../event/event-view.tsx')) },
  consumers: { title: 'Consumers', view: lazy(() => import('../consumer/consumers-view.tsx')) },
  consumer: { title: 'Consumer', view: lazy(() => import('../consumer/consumer-view.tsx')) },
  letters: { title: 'Dead letters', view: lazy(() => import('../letters/letters-view.tsx')) },
  rules: { title: 'Rules', view: lazy(() => import('../rules/rules-view.tsx')) },
  rule: { title: 'Rule', view: lazy(() => import('../rules/rule-view.tsx')) },
  catalogue: { title: 'Catalogue', view: lazy(() => import('../catalogue/catalogue-view.tsx')) },
  type: { title: 'Event type', view: lazy(() => import('../catalogue/type-view.tsx')) },
  publish: { title: 'Publish', view: lazy(() => import('../publish/publish-view.tsx')) },
}
const MENU = ['flow', 'channels', 'consumers', 'letters', 'rules', 'catalogue', 'publish'] as const
/** The entry of the menu that a view belongs to. */
const UNDER: Readonly<Record<string, string>> = {
  channel: 'channels',
  event: 'channels',
  consumer: 'consumers',
  rule: 'rules',
  type: 'catalogue',
}

export function App(): ReactNode {
  const query = useQuery()
  const asked = useSyncExternalStore(access.subscribe, access.isAsked)
  const [palette, setPalette] = useState(false)
  const name = query.get('view') in views ? query.get('view') : 'flow'
  const { title, view: View } = views[name] as NonNullable<(typeof views)[string]>
  useEffect(() => live.start(), [])
  useEffect(() => {
    document.title = `${[query.get('name'), title].filter((part) => part !== '').join(' · ')} · Millrace`
  }, [query, title])
  useEffect(() => {
    const open = (event: KeyboardEvent): void => {
      if (event.key.toLowerCase() !== 'k' || !(event.ctrlKey || event.metaKey)) return
      event.preventDefault()
      setPalette(true)
    }
    addEventListener('keydown', open)
    return () => removeEventListener('keydown', open)
  }, [])
  return (
    <div className="app">
      <a className="skip" href="#content">
        Skip to the content
      </a>
      <Header current={UNDER[name] ?? name} openPalette={() => setPalette(true)} />
      <Alarms />
      <main id="content" tabIndex={-1} className={`view view-${name}`}>
        <Suspense fallback={<Waiting what={title.toLowerCase()} />}>
          {asked ? <SignIn /> : <View key={`${name}/${query.get('name')}`} />}
        </Suspense>
      </main>
      {palette && <Palette close={() => setPalette(false)} />}
    </div>
  )
}

function Header({ current, openPalette }: { readonly current: string; readonly openPalette: () => void }): ReactNode {
  const [theme, next] = useTheme()
  const dead = useOf(
    () => live.structure?.parts.reduce((sum, { id }) => sum + (live.numbers(id).deadLetters ?? 0), 0) ?? 0,
  )
  return (
    <header className="bar">
      <To to={{}} className="brand" title="Flow">
        <img src="./icon.svg" alt="" width="22" height="22" />
        <span>Millrace</span>
      </To>
      <nav aria-label="Views">
        {MENU.map((name) => (
          <span key={name} className={name === current ? 'tab here' : 'tab'}>
            <To to={name === 'flow' ? {} : { view: name }}>{views[name]?.title}</To>
            {name === 'letters' && dead > 0 && <span className="badge bad">{dead}</span>}
          </span>
        ))}
      </nav>
      <div className="bar-end">
        <Connection />
        <button type="button" className="quiet" onClick={openPalette} title="Ctrl+K">
          Go to …
        </button>
        <button
          type="button"
          className="quiet"
          onClick={next}
          aria-label={`Theme: ${theme}. Change it`}
          title={`Theme: ${theme}`}
        >
          {theme === 'dark' ? '☾' : theme === 'light' ? '☀' : '◐'}
        </button>
      </div>
    </header>
  )
}

const STATUS_WORDS = { connecting: 'connecting', live: 'live', lost: 'reconnecting' } as const

function Connection(): ReactNode {
  const status = useStatus()
  const engine = useStructure()?.engine
  return (
    <span
      className={`connection ${status}`}
      role="status"
      title={engine === undefined ? undefined : `Engine: ${engine}`}
    >
      <span className="dot" aria-hidden="true" />
      {STATUS_WORDS[status]}
    </span>
  )
}

function Alarms(): ReactNode {
  const alarms = useStructure()?.alarms ?? []
  if (alarms.length === 0) return null
  return (
    <div className="alarms" role="alert">
      {alarms.slice(0, 5).map(({ code, message }) => (
        <p key={code + message}>
          <code className="code">{code}</code> {plain(message, 300)}
        </p>
      ))}
    </div>
  )
}
