/**
 * The servers that engines and databases of users run on, with the settings that clause 1 needs: an answer only after
 * the sync.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { installedNats, kafka, mariadbServer, newestNats, postgresFolder, redisServer } from './programs.ts'
import { freePort, Server, type ServerKind, serverUser } from './server.ts'

export const ENGINES = ['nats', 'redis', 'kafka', 'postgres', 'mariadb'] as const
export type EngineName = (typeof ENGINES)[number]

export interface NatsOptions {
  /**
   * `newest` is built by Go; `installed` is the system's. The default is the newest if Go is installed, else the
   * installed one.
   */
  readonly version?: 'newest' | 'installed'
  /** Sync every write before it is acknowledged (2.10 and later). @default true */
  readonly synced?: boolean
  /** More lines of the server's configuration. */
  readonly more?: string
}

/** @throws Missing */
export function natsKind(options: NatsOptions = {}): ServerKind {
  const program =
    options.version === 'installed'
      ? installedNats()
      : options.version === 'newest'
        ? newestNats()
        : newestOrInstalled()
  const syncs =
    options.synced !== false && !/v2\.[0-9]\./.test(execFileSync(program, ['--version'], { encoding: 'utf8' }))
  return {
    name: 'nats',
    readyMs: 15_000,
    program,
    url: (port) => `nats://127.0.0.1:${port}`,
    prepare: async (folder, port) => {
      const lines = [
        `host: 127.0.0.1`,
        `port: ${port}`,
        `jetstream { store_dir: "${folder}/js"${syncs ? ', sync_interval: always' : ''} }`,
        options.more ?? '',
      ]
      writeFileSync(join(folder, 'nats.conf'), lines.join('\n'))
      return ['-c', join(folder, 'nats.conf')]
    },
  }
}

function newestOrInstalled(): string {
  try {
    return newestNats()
  } catch {
    return installedNats()
  }
}

/** @throws Missing */
export function redisKind(settings: Readonly<Record<string, string>> = {}): ServerKind {
  const all = { appendonly: 'yes', appendfsync: 'always', save: '""', 'maxmemory-policy': 'noeviction', ...settings }
  return {
    name: 'redis',
    readyMs: 15_000,
    program: redisServer(),
    url: (port) => `redis://127.0.0.1:${port}`,
    prepare: async (folder, port) => {
      const lines = Object.entries({ bind: '127.0.0.1', port: String(port), dir: folder, ...all }).map(
        ([name, value]) => `${name} ${value}`,
      )
      writeFileSync(join(folder, 'redis.conf'), `${lines.join('\n')}\n`)
      return [join(folder, 'redis.conf')]
    },
  }
}

/** A further listener that tells clients to reconnect to another port: that of a proxy in front of it. */
export interface ProxiedListener {
  readonly port: number
  readonly advertised: number
}

/** One node in KRaft mode, broker and controller, that flushes every message. @throws Missing */
export function kafkaKind(settings: Readonly<Record<string, string>> = {}, proxied?: ProxiedListener): ServerKind {
  const { java, jars } = kafka()
  const classPath = ['-cp', `${jars}/*`]
  return {
    name: 'kafka',
    readyMs: 60_000,
    program: java,
    url: (port) => `kafka://127.0.0.1:${port}`,
    prepare: async (folder, port) => {
      const controller = await freePort()
      const file = join(folder, 'server.properties')
      writeFileSync(
        file,
        Object.entries({ ...withListener(kafkaSettings(folder, port, controller), proxied), ...settings })
          .map(([name, value]) => `${name}=${value}\n`)
          .join(''),
      )
      execFileSync(java, [...classPath, 'kafka.tools.StorageTool', 'format', '-t', clusterId(), '-c', file], {
        stdio: 'pipe',
      })
      return ['-Xms128m', '-Xmx512m', '-XX:TieredStopAtLevel=1', ...classPath, 'kafka.Kafka', file]
    },
  }
}

/** A text that begins with "-" would be read as an option. */
function clusterId(): string {
  return randomBytes(16).toString('base64url').replace(/^-/, 'A')
}

function kafkaSettings(folder: string, port: number, controller: number): Record<string, string> {
  return {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controller}`,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controller}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    'log.dirs': `${folder}/logs`,
    'log.flush.interval.messages': '1',
    'auto.create.topics.enable': 'false',
    'offsets.topic.replication.factor': '1',
    'offsets.topic.num.partitions': '4',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'transaction.state.log.num.partitions': '4',
    'share.coordinator.state.topic.replication.factor': '1',
    'share.coordinator.state.topic.min.isr': '1',
    'group.initial.rebalance.delay.ms': '0',
  }
}

function withListener(settings: Record<string, string>, proxied: ProxiedListener | undefined): Record<string, string> {
  if (proxied === undefined) return settings
  return {
    ...settings,
    listeners: `${settings['listeners']},PROXIED://127.0.0.1:${proxied.port}`,
    'advertised.listeners': `${settings['advertised.listeners']},PROXIED://127.0.0.1:${proxied.advertised}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT',
  }
}

/** Everybody on the loopback is the owner of the database `postgres`. @throws Missing */
export function postgresKind(settings: Readonly<Record<string, string>> = {}): ServerKind {
  const programs = postgresFolder()
  const user = serverUser('postgres')
  return {
    name: 'postgres',
    readyMs: 30_000,
    program: join(programs, 'postgres'),
    url: (port) => `postgres://millrace@127.0.0.1:${port}/postgres`,
    user,
    // A clean stop by SIGTERM would wait until all clients have left.
    stopSignal: 'SIGINT',
    // It would write all tables to disk before.
    discardSignal: 'SIGQUIT',
    hasChildren: true,
    isReady: (port) => succeeds(join(programs, 'pg_isready'), ['-q', '-h', '127.0.0.1', '-p', String(port)]),
    prepare: async (folder, port) => {
      const data = join(folder, 'data')
      const options = ['-D', data, '-U', 'millrace', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync']
      execFileSync(join(programs, 'initdb'), options, { stdio: 'pipe', cwd: folder, ...user })
      const all = { listen_addresses: '127.0.0.1', port: String(port), unix_socket_directories: '', ...settings }
      return ['-D', data, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])]
    },
  }
}

/** Everybody on the loopback is root, and there is a database `test`. @throws Missing */
export function mariadbKind(settings: Readonly<Record<string, string>> = {}): ServerKind {
  const { server, install } = mariadbServer()
  const user = serverUser('mysql')
  return {
    name: 'mariadb',
    readyMs: 30_000,
    program: server,
    url: (port) => `mysql://root@127.0.0.1:${port}/test`,
    user,
    prepare: async (folder, port) => {
      const data = join(folder, 'data')
      const options = [`--datadir=${data}`, `--tmpdir=${folder}`, '--auth-root-authentication-method=normal']
      execFileSync(install, ['--no-defaults', ...options], { stdio: 'pipe', cwd: folder, ...user })
      const synced = { 'innodb-flush-log-at-trx-commit': '1', 'sync-binlog': '1' }
      const own = {
        datadir: data,
        tmpdir: folder,
        port: String(port),
        'bind-address': '127.0.0.1',
        socket: join(folder, 'socket'),
      }
      const all = { ...own, ...synced, ...settings }
      return ['--no-defaults', ...Object.entries(all).map(([name, value]) => `--${name}=${value}`)]
    },
  }
}

function succeeds(program: string, args: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0
}

const KINDS: Readonly<Record<EngineName, () => ServerKind>> = {
  nats: natsKind,
  redis: redisKind,
  kafka: kafkaKind,
  postgres: postgresKind,
  mariadb: mariadbKind,
}

/** An engine's server with default settings. @throws Missing */
export function kindFor(name: EngineName): ServerKind {
  return KINDS[name]()
}

/** @throws Missing */
export async function startEngine(name: EngineName): Promise<Server> {
  return Server.start(kindFor(name))
}
