/**
 * Reads a data directory beside its owner, or after its owner died. It never writes.
 *
 * What the owner has applied is read through the index. If there is no living owner, the rest is read from the journal
 * once, at opening. Beside a living owner, new commits become visible when they are applied, within about a tenth of a
 * second.
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
import { UnappliedCommits } from './unapplied-commits.ts'

export class ReadOnlyStore<Block extends StoredBlock = StoredBlock> extends StoreReads<Block> implements Store<Block> {
  /** @throws DATA_MISSING · DATA_DAMAGED · DATA_FOREIGN */
  static open<Block extends StoredBlock>(
    directory: string,
    revive: (block: StoredBlock) => Block,
    owned: boolean,
  ): ReadOnlyStore<Block> {
    const { format } = readFormat(nodeFileSystem, directory, false)
    const index = IndexDb.openReadOnly(directory, format.id)
    const unapplied = new UnappliedCommits<Block>(index.applied)
    if (!owned) {
      const journal = new Journal(nodeFileSystem, directory, { fileBytes: 0, filesMax: 0, directoryId: format.id })
      journal.recover(
        format.journal,
        index.applied,
        (frame, commit, bytes) => unapplied.add({ ...frame, blocks: frame.blocks.map(revive) }, commit, bytes),
        true,
      )
      journal.close()
    }
    return new ReadOnlyStore(index, new Segments(nodeFileSystem, directory, true), unapplied)
  }

  /** Read what the owner has applied since. */
  refresh(): void {
    this.index.refresh()
    if (this.index.applied.sequence > this.unapplied.sequence) this.unapplied = new UnappliedCommits(this.index.applied)
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
    return { unappliedBytes: this.unapplied.bytes, journalFull: false, storedBytes: 0, commits: 0 }
  }

  async close(): Promise<void> {
    this.segments.close()
    await this.index.close()
  }
}
