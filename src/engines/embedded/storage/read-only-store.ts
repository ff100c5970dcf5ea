/**
 * A data directory, looked at beside its owner, or after its owner died: never written to.
 *
 * What the owner has applied is seen through the index; what it has not is read from the journal once, at opening, for a
 * directory whose owner is gone. Beside a living owner news are seen when they are applied, within a tenth of a second or so.
 */

import { MillraceError } from '../../../base/errors.ts'
import { nextTurn } from '../../../base/timers.ts'
import type { Store, StoredBlock, StoreStats } from '../store.ts'
import { readFormat } from './directory-format.ts'
import { nodeFileSystem } from './file-system.ts'
import { IndexDb } from './index-db.ts'
import { Journal } from './journal.ts'
import { Segments } from './segments.ts'
import { StoreReads } from './store-reads.ts'
import { Tail } from './tail.ts'

export class ReadOnlyStore<Block extends StoredBlock = StoredBlock> extends StoreReads<Block> implements Store<Block> {
  /** @throws DATA_MISSING · DATA_DAMAGED · DATA_FOREIGN */
  static open<Block extends StoredBlock>(
    directory: string,
    revive: (block: StoredBlock) => Block,
    owned: boolean,
  ): ReadOnlyStore<Block> {
    const { format } = readFormat(nodeFileSystem, directory, false)
    const index = IndexDb.openReadOnly(directory, format.id)
    const tail = new Tail<Block>(index.applied)
    if (!owned) {
      const journal = new Journal(nodeFileSystem, directory, { fileBytes: 0, filesMax: 0, directoryId: format.id })
      journal.recover(
        format.journal,
        index.applied,
        (frame, commit, bytes) => tail.add({ ...frame, blocks: frame.blocks.map(revive) }, commit, bytes),
        true,
      )
      journal.close()
    }
    return new ReadOnlyStore(index, new Segments(nodeFileSystem, directory, true), tail)
  }

  /** See what the owner has applied since. */
  refresh(): void {
    this.index.refresh()
    if (this.index.applied.sequence > this.tail.sequence) this.tail = new Tail(this.index.applied)
    this.forgetBounds()
  }

  commit(_frame: unknown, done: (error: Error | null) => void): void {
    const error = new MillraceError('INVALID_OPTION', 'the directory was opened with readOnly: nothing can be stored', {
      option: 'readOnly',
    })
    nextTurn(() => done(error))
  }

  async compact(): Promise<null> {
    return null
  }

  stats(): StoreStats {
    return { unappliedBytes: this.tail.bytes, storedBytes: 0, commits: 0 }
  }

  async close(): Promise<void> {
    this.segments.close()
    await this.index.close()
  }
}
