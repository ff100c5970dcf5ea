/**
 * Faults that are planted in the delivery room, to prove that the model finds them. Each replaces one method until it
 * is taken out.
 */

import { OffsetSet } from '../../../src/base/offset-set.ts'
import { Cursor } from '../../../src/delivery/cursor/cursor.ts'
import { CursorState } from '../../../src/delivery/cursor/cursor-state.ts'
import { Blockade } from '../../../src/delivery/dead/blockade.ts'
import { DeadLetterBox } from '../../../src/delivery/dead/dead-letter-box.ts'
import { KeptEvents } from '../../../src/delivery/dead/kept-events.ts'
import { AttachedInstances } from '../../../src/delivery/dispatch/attached-instances.ts'
import { ConsumerKeys } from '../../../src/delivery/dispatch/consumer-keys.ts'
import { Instance } from '../../../src/delivery/dispatch/instance.ts'
import { Lane } from '../../../src/delivery/dispatch/lane.ts'
import { LaneTable } from '../../../src/delivery/dispatch/lane-table.ts'
import { WantFilter } from '../../../src/delivery/dispatch/want-filter.ts'
import { ConcurrencyTable } from '../../../src/delivery/flow/concurrency-table.ts'
import { SimStore } from './sim-store.ts'

/** Plants a fault. Returns a function that takes it out. */
export type Plant = () => () => void

/** Replace a method of a class. `make` gets the class's own method. */
function instead<Class extends object, Name extends keyof Class>(
  of: { readonly prototype: Class },
  name: Name,
  make: (own: Class[Name]) => Class[Name],
): Plant {
  return () => {
    const own = Object.getOwnPropertyDescriptor(of.prototype, name) as PropertyDescriptor
    Object.defineProperty(of.prototype, name, {
      configurable: true,
      writable: true,
      value: make(own.value as Class[Name]),
    })
    return () => Object.defineProperty(of.prototype, name, own)
  }
}

/** Replace what a getter of a class returns. */
function read<Class extends object, Name extends keyof Class>(
  of: { readonly prototype: Class },
  name: Name,
  value: (self: Class) => Class[Name],
): Plant {
  return () => {
    const own = Object.getOwnPropertyDescriptor(of.prototype, name) as PropertyDescriptor
    Object.defineProperty(of.prototype, name, {
      configurable: true,
      get(this: Class) {
        return value(this)
      },
    })
    return () => Object.defineProperty(of.prototype, name, own)
  }
}

function both(one: Plant, other: Plant): Plant {
  return () => {
    const takeOut = [one(), other()]
    return () => {
      for (const each of takeOut) each()
    }
  }
}

export const FAULTS: Readonly<Record<string, Plant>> = {
  'a new event joins its chain while older events wait in the lane': both(
    instead(KeptEvents, 'mayJoin', () => () => true),
    instead(KeptEvents, 'giveChain', (give) => {
      return function (this: KeptEvents, lane, chain) {
        const waiting = lane.offsets
        for (const offset of waiting) lane.remove(offset)
        give.call(this, lane, chain)
        for (const offset of waiting) lane.add(offset)
      }
    }),
  ),
  'a completion is taken while an earlier event of its key waits': instead(Lane, 'waitsBefore', () => () => false),
  'some events that are put back are lost': instead(
    Lane,
    'add',
    (add) =>
      function (this: Lane, offset) {
        if (offset % 5 !== 3) add.call(this, offset)
      },
  ),
  'a key gets a new lane for each event': instead(LaneTable, 'find', () => () => undefined),
  'a failed attempt counts twice': instead(
    CursorState,
    'fail',
    (fail) =>
      function (this: CursorState, offset, retry) {
        fail.call(this, offset, { ...retry, attempts: retry.attempts + 1 })
      },
  ),
  'failed attempts are not counted': instead(CursorState, 'attempts', () => () => 0),
  'a retry does not wait': instead(
    CursorState,
    'fail',
    (fail) =>
      function (this: CursorState, offset, retry) {
        fail.call(this, offset, { ...retry, dueAtMs: 0 })
      },
  ),
  'a run of settled offsets is one too long': instead(
    OffsetSet,
    'addRun',
    (addRun) =>
      function (this: OffsetSet, offset, count) {
        addRun.call(this, offset, count + 1)
      },
  ),
  'settled offsets are not written': instead(SimStore, 'touch', () => () => undefined),
  'a letter stays after its event was completed': instead(DeadLetterBox, 'done', () => () => undefined),
  'a letter that blocks stops nothing': read(Blockade, 'stands', () => false),
  'the lanes of redriven keys are not woken': instead(Cursor, 'wake', () => () => undefined),
  'taking an unchained event takes the next one too': instead(DeadLetterBox, 'takeUnchained', (take) => {
    return function (this: DeadLetterBox, consumer, offset) {
      take.call(this, consumer, offset)
      take.call(this, consumer, offset + 1)
    }
  }),
  'a rewind keeps the lanes': instead(LaneTable, 'clear', () => () => undefined),
  'the deliveries of a lost lease are not delivered again': instead(Cursor, 'expire', () => () => undefined),
  'an instance that holds an event loses it in a takeover': instead(
    AttachedInstances,
    'claimant',
    () => () => undefined,
  ),
  'a paused instance is given events': read(
    Instance,
    'isReady',
    (instance) => !instance.closing && !instance.lapsed && !instance.abandoned && instance.begun,
  ),
  'an instance takes more than it has credit for': read(Instance, 'hasCredit', ({ isReady }) => isReady),
  'a key is in flight in two channels at once': instead(ConsumerKeys, 'mayTake', () => () => true),
  'a second channel does not begin the table of keys': instead(ConsumerKeys, 'attended', () => () => undefined),
  'filters are not asked': instead(WantFilter, 'accepts', () => () => true),
}

/** Faults that only histories with limits can find. */
export const LIMIT_FAULTS: Readonly<Record<string, Plant>> = {
  'a limit has room for every event': instead(ConcurrencyTable, 'hasRoom', () => () => true),
  'what has ended is not taken off a limit': instead(ConcurrencyTable, 'end', () => () => undefined),
}
