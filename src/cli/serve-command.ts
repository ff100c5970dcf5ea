/** `millrace serve`: a broker for everyone on this machine, over HTTP. */
import { serveGateway } from '../gateway/serve-gateway.ts'
import { connect } from '../index.ts'
import { complete, print, printJson } from './output.ts'
import type { TargetOptions } from './target.ts'

export interface ServeCommandOptions extends TargetOptions {
  readonly port: string
  readonly host: string
}

export async function serveCommand(options: ServeCommandOptions): Promise<void> {
  const broker = await connect(`file:${options.data}`, { onAlarm: (alarm) => process.stderr.write(`! ${alarm.code}: ${alarm.message}\n`) })
  try {
    const gateway = await serveGateway(broker, { port: Number(options.port), host: options.host })
    if (options.json === true) printJson({ url: gateway.url, data: options.data, pid: process.pid })
    else print(`Millrace serves ${options.data} on ${gateway.url} (loopback only: there is no access control yet). Ctrl-C stops it.`)
    await interrupted()
    await gateway.close()
  } finally {
    await broker.close()
  }
  complete('stopped; everything acknowledged is on disk', options)
}

function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGINT', () => resolve())
    process.once('SIGTERM', () => resolve())
  })
}
