/** `ctx.log`: each line has the event, the consumer and the attempt as fields. */
import type { Log } from '../broker/log.ts'
import type { Level, LogFields } from '../broker/logger.ts'
import type { ContextLog } from './consumer-types.ts'

export function contextLog(log: Log, bound: LogFields): ContextLog {
  const at =
    (level: Level) =>
    (message: string, fields: LogFields = {}): void =>
      log.write(level, String(message), { ...fields, ...bound })
  return { info: at('info'), warn: at('warn'), error: at('error') }
}
