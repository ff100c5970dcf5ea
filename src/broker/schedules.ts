/**
 * Schedules (clause 20) as applications see them. The room `schedule` implements them; the broker loads it on first
 * use.
 */
import type { TimeText } from '../base/time-text.ts'
import type { Duration } from '../base/units.ts'
import type { Channel } from '../channel/channel.ts'
import type { Publishable } from './publishable.ts'

/** What happens where the clock of a time zone jumps: `dst` of a cron schedule. */
export type DstPolicy = 'vixie' | 'skip'

/** What happens to times that passed while no process ran the schedule. */
export type MissedPolicy = 'one' | 'all' | 'skip'

/**
 * When a schedule publishes: at the times of a cron expression, in an interval, or once. Exactly one of `cron`, `every`
 * and `at` is given.
 */
export interface When {
  /** Five fields, or six with the seconds first, or a name such as `@daily`: `'0 7 * * 1-5'`. */
  readonly cron?: string
  /** The IANA time zone of `cron`: `'Europe/Berlin'`. @default 'UTC' */
  readonly timeZone?: string
  /**
   * Of `cron`, where the clock jumps. With `'vixie'`, an expression without a wildcard or a step in its hours and
   * minutes runs once for each of its times: at the first moment after the jump if the day does not have the time, and
   * the first time if the day has it twice. Other expressions run whenever the clock shows one of their times.
   * `'skip'` is the same, but a time that a day does not have does not run.
   * @default 'vixie'
   */
  readonly dst?: DstPolicy
  /** An interval of at least a second: the times are its multiples, counted from the beginning of 1970 in UTC. */
  readonly every?: Duration
  /** Of `every`: moves each time by this much, less than the interval. @default 0 */
  readonly offset?: Duration
  /** One time only: a Date, RFC 3339 text, or milliseconds since the epoch. */
  readonly at?: Date | TimeText | number
  /**
   * Times that passed by more than a minute while no process ran the schedule. `'one'`: of them, the last one
   * publishes. `'all'`: each publishes, in order. `'skip'`: none does.
   * @default 'one'
   */
  readonly missed?: MissedPolicy
  /**
   * Each event comes up to this much later. How much is computed from the schedule's name and the time, so that it is
   * the same in every process. At most a day.
   * @default 0
   */
  readonly jitter?: Duration
  /** The last moment: later times do not publish. @default none */
  readonly until?: Date | TimeText | number
}

/** The time for which the function of a schedule makes an event. */
export interface ScheduledRun {
  /** The name of the schedule. */
  readonly schedule: string
  /** The time of the schedule: when it was due, not when the function runs. */
  readonly time: Date
  /** Whether it was run by hand: `run()`. */
  readonly manual: boolean
}

/** Makes the event for one time of a schedule. */
export type MakeEvent<C> = (run: ScheduledRun) => Publishable<C> | Promise<Publishable<C>>

/** A time of a schedule that has published. */
export interface LastRun {
  /** The time of the schedule. */
  readonly time: Date
  /** When it was handled. */
  readonly at: Date
  /**
   * Why the event was not published at once: its function failed, or the channel refused it. It is tried again, and is
   * a dead letter of the consumer `$schedules.worker`, or `$schedules.code.NAME`, if it goes on failing.
   */
  readonly problem: string | null
}

/** A schedule as it is now. */
export interface ScheduleDescription {
  readonly name: string
  /** The channel that its events go to. */
  readonly channel: string
  /** The type of its events; null if a function makes them. */
  readonly type: string | null
  readonly when: When
  /** When it was paused, and why; null while it runs. */
  readonly paused: { readonly since: Date; readonly reason: string | null } | null
  /** The next time, which may have passed a moment ago; null if it is paused, or over. */
  readonly next: Date | null
  /** The last time that published; null if none has. */
  readonly last: LastRun | null
  /** Who changed it last, and when. */
  readonly author: string
  readonly changedAt: Date
}

/** Of a change of a schedule. */
export interface ScheduleChange {
  /** Who changes it, for the list. @default 'application' */
  readonly author?: string
}

/** Schedules that this process runs. */
export interface RunningSchedules {
  /** Takes no more times, and waits for those that are handled now. Other processes continue. */
  stop(): Promise<void>
  /** Resolves when it has stopped. */
  readonly done: Promise<unknown>
}

/** The schedules of a broker. They are stored with its data, and are the same from every process. */
export interface Schedules {
  /**
   * Create a schedule with an event as data, or replace the one of that name. It does not start to run them here:
   * `start()` does, and `broker.schedule()`. A schedule that is already as given is not changed. If the times change,
   * or the schedule was over, they count from now.
   *
   * @throws INVALID_OPTION when something is wrong, or no time lies ahead · INVALID_NAME when the name cannot be one ·
   * UNKNOWN_CHANNEL when no channel of the given name is declared · as `publish`, when the channel refuses the event
   */
  put<C extends Channel | string>(
    name: string,
    when: When,
    channel: C,
    event: Publishable<C>,
    change?: ScheduleChange,
  ): Promise<ScheduleDescription>
  /** All schedules, by name. */
  list(): Promise<ScheduleDescription[]>
  /** @throws UNKNOWN_SCHEDULE when there is no schedule of the name */
  get(name: string): Promise<ScheduleDescription>
  /** Times that pass while it is paused do not publish. @throws as `get` */
  pause(name: string, change?: ScheduleChange & { readonly reason?: string }): Promise<ScheduleDescription>
  /** Continue with the next time from now. @throws as `get` */
  resume(name: string, change?: ScheduleChange): Promise<ScheduleDescription>
  /** Delete it. Events that it has published stay. @throws as `get` */
  remove(name: string, change?: ScheduleChange): Promise<void>
  /**
   * Publish one more event now, also if it is paused or over. Its times stay as they are. Resolves with the event's id
   * when it is certain that it will be published, by a process that runs schedules.
   * @throws as `get`
   */
  run(name: string): Promise<{ readonly id: string }>
  /**
   * Run schedules with events as data in this process, until the broker closes. Any number of processes may: each time
   * publishes once.
   */
  start(): Promise<RunningSchedules>
}
