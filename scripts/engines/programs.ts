/**
 * Finds the programs of the servers. Installed programs are used. What Go or Maven can provide is fetched once, into a
 * cache of this user; without them, the message says what to install. With `MILLRACE_ENGINES=present` nothing is
 * fetched.
 */
import { execFileSync } from 'node:child_process'
import { accessSync, constants, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'

export const KAFKA_VERSION = '4.3.1'
/** Where Debian installs Postgres, a folder for each version. */
const DEBIAN_POSTGRES = '/usr/lib/postgresql'
const NATS_MODULE = 'github.com/nats-io/nats-server/v2@latest'

const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'millrace-engines')

/** A server is missing: the reason, and what to do. */
export class Missing extends Error {
  override readonly name = 'Missing'
}

/** The path of a program, or null if it is not installed. */
export function programOf(name: string, folders: readonly string[] = []): string | null {
  for (const folder of [
    ...folders,
    ...(process.env['PATH'] ?? '').split(delimiter),
    '/usr/sbin',
    '/usr/local/go/bin',
  ]) {
    const path = join(folder, name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // It is not there: try the next one.
    }
  }
  return null
}

/** The installed nats-server, from the PATH. @throws Missing */
export function installedNats(): string {
  const program = programOf('nats-server')
  if (program === null) throw new Missing('there is no nats-server: apt-get install nats-server')
  return program
}

/** The newest nats-server, built once by Go. @throws Missing */
export function newestNats(): string {
  const folder = join(cache, 'nats')
  const built = join(folder, 'nats-server')
  if (existsSync(built)) return built
  const go = programOf('go')
  if (go === null)
    throw new Missing(
      'there is no Go to build the newest nats-server with: install Go, or use the nats-server of your system',
    )
  run('building the newest nats-server', go, ['install', NATS_MODULE], { GOBIN: folder })
  return built
}

/** @throws Missing */
export function redisServer(): string {
  const program = programOf('redis-server')
  if (program === null) throw new Missing('there is no redis-server: apt-get install redis-server')
  return program
}

/** The folder of the newest installed Postgres' programs. Debian keeps them out of the PATH. @throws Missing */
export function postgresFolder(): string {
  const versions = existsSync(DEBIAN_POSTGRES) ? readdirSync(DEBIAN_POSTGRES) : []
  const folders = versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(DEBIAN_POSTGRES, version, 'bin'))
  const initdb = programOf('initdb', folders)
  if (initdb === null || programOf('postgres', [dirname(initdb)]) === null)
    throw new Missing('there is no Postgres server: apt-get install postgresql')
  return dirname(initdb)
}

/** @throws Missing */
export function mariadbServer(): { readonly server: string; readonly install: string } {
  const server = programOf('mariadbd')
  const install = programOf('mariadb-install-db')
  if (server === null || install === null)
    throw new Missing('there is no MariaDB server: apt-get install mariadb-server')
  return { server, install }
}

/** Java, and the folder of Kafka's jars, which Maven fetches once. @throws Missing */
export function kafka(): { readonly java: string; readonly jars: string } {
  const java = programOf('java', process.env['JAVA_HOME'] === undefined ? [] : [join(process.env['JAVA_HOME'], 'bin')])
  if (java === null)
    throw new Missing('there is no Java (17 or later) to run Kafka with: apt-get install default-jre-headless')
  const jars = join(cache, `kafka-${KAFKA_VERSION}`)
  if (existsSync(jars)) return { java, jars }
  const maven = programOf('mvn')
  if (maven === null) throw new Missing("there is no Maven to bring Kafka's jars: apt-get install maven")
  const fresh = `${jars}.${process.pid}`
  mkdirSync(fresh, { recursive: true })
  writeFileSync(join(fresh, 'pom.xml'), POM)
  run(`fetching Kafka ${KAFKA_VERSION}`, maven, [
    '-q',
    '-B',
    '-f',
    join(fresh, 'pom.xml'),
    'dependency:copy-dependencies',
    `-DoutputDirectory=${fresh}`,
  ])
  if (!readdirSync(fresh).some((name) => name.startsWith('kafka_')))
    throw new Missing(`Maven brought no Kafka ${KAFKA_VERSION}`)
  // Another process may have been faster.
  if (!existsSync(jars)) renameSync(fresh, jars)
  else rmSync(fresh, { recursive: true })
  return { java, jars }
}

function run(
  what: string,
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): void {
  if (process.env['MILLRACE_ENGINES'] === 'present')
    throw new Missing(`${what} is for \`npm run engines -- --fetch\`: run it once`)
  console.error(`${what} …`)
  try {
    execFileSync(program, args, { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, ...environment } })
  } catch (cause) {
    throw new Missing(`${what} failed: ${String(cause)}`, { cause })
  }
}

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
`
