/** The schedules of a broker, whose room is loaded when they are used first: most applications have none. */
import { MillraceError } from '../base/errors.ts'
import type { Channel } from '../channel/channel.ts'
import type { Broker } from './broker.ts'
import type { BrokerCore } from './engine-of.ts'
import type { Publishable } from './publishable.ts'
import type { MakeEvent, RunningSchedules, ScheduleChange, ScheduleDescription, Schedules, When } from './schedules.ts'

/** What the room `schedule` implements: `Schedules`, and `broker.schedule()`. */
export interface SchedulesOfBroker extends Schedules {
  schedule<C extends Channel | string>(
    name: string,
    when: When,
    channel: C,
    event: Publishable<C> | MakeEvent<C>,
  ): Promise<ScheduleDescription>
}

/** Loads the room, and makes the schedules of a broker. */
export type SchedulesLoader = (broker: Broker, core: BrokerCore) => Promise<SchedulesOfBroker>

export class LaterSchedules implements SchedulesOfBroker {
  readonly #load: () => Promise<SchedulesOfBroker>
  #loaded: Promise<SchedulesOfBroker> | null = null

  constructor(load: () => Promise<SchedulesOfBroker>) {
    this.#load = load
  }

  /** @throws CLOSED when the broker is closed */
  async loaded(): Promise<SchedulesOfBroker> {
    this.#loaded ??= this.#load()
    return this.#loaded
  }

  async schedule<C extends Channel | string>(
    name: string,
    when: When,
    channel: C,
    event: Publishable<C> | MakeEvent<C>,
  ): Promise<ScheduleDescription> {
    return (await this.loaded()).schedule(name, when, channel, event)
  }

  async put<C extends Channel | string>(
    name: string,
    when: When,
    channel: C,
    event: Publishable<C>,
    change?: ScheduleChange,
  ): Promise<ScheduleDescription> {
    return (await this.loaded()).put(name, when, channel, event, change)
  }

  async list(): Promise<ScheduleDescription[]> {
    return (await this.loaded()).list()
  }

  async get(name: string): Promise<ScheduleDescription> {
    return (await this.loaded()).get(name)
  }

  async pause(name: string, change?: ScheduleChange & { readonly reason?: string }): Promise<ScheduleDescription> {
    return (await this.loaded()).pause(name, change)
  }

  async resume(name: string, change?: ScheduleChange): Promise<ScheduleDescription> {
    return (await this.loaded()).resume(name, change)
  }

  async remove(name: string, change?: ScheduleChange): Promise<void> {
    return (await this.loaded()).remove(name, change)
  }

  async run(name: string): Promise<{ readonly id: string }> {
    return (await this.loaded()).run(name)
  }

  async start(): Promise<RunningSchedules> {
    return (await this.loaded()).start()
  }
}

/** For brokers that are made without the room. */
export function noSchedules(): never {
  throw new MillraceError('INVALID_OPTION', 'this broker was made without schedules: use connect()', {
    option: 'schedules',
  })
}
