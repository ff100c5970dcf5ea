/**
 * Copies a data directory in use, as it was at one commit: the index, and of each segment the bytes that the index
 * refers to. No journal is needed, because everything in the journal is applied first.
 *
 * Order: the marker is written last, after everything else is synced. An interrupted copy has no marker, and is refused
 * when it is opened.
 */
import { join, sep } from 'node:path'
import { MillraceError } from '../../../base/errors.ts'
import type { BackupSummary } from '../store.ts'
import { writeFormat } from './directory-format.ts'
import type { FileSystem } from './file-system.ts'
import type { SegmentTotals } from './index-db.ts'
import { INDEX_FILE } from './index-file.ts'
import { Segments } from './segments.ts'
import { refusalOf } from './system-refusal.ts'

const CHUNK_BYTES = 4 * 1024 * 1024

export class DirectoryBackup {
  readonly #fs: FileSystem
  readonly #from: string
  readonly #to: string
  #bytes = 0

  /** @throws INVALID_OPTION when the target is not empty · DIRECTORY_UNUSABLE when the system refuses it */
  constructor(fs: FileSystem, from: string, to: string) {
    this.#fs = fs
    this.#from = from
    this.#to = to
    if (`${to}${sep}`.startsWith(`${from}${sep}`))
      throw new MillraceError(
        'INVALID_OPTION',
        `${to} is within the directory that is copied: a backup goes into a directory beside it`,
        { directory: to },
      )
    try {
      if (fs.list(to).length > 0)
        throw new MillraceError('INVALID_OPTION', `${to} is not empty: a backup needs a directory of its own`, {
          directory: to,
        })
      fs.makeDirectory(to)
    } catch (error) {
      throw refusalOf(to, error)
    }
  }

  /** Called while nothing is applied, so that no page of the index changes. */
  async copyIndex(): Promise<void> {
    await this.#copy(INDEX_FILE, null)
  }

  /** Called while no segment is removed. Appends after these bytes do not matter. */
  async copySegments(segments: ReadonlyMap<number, SegmentTotals>): Promise<void> {
    for (const [id, { bytes }] of segments) await this.#copy(Segments.fileName(id), bytes)
    // A directory without a data file would look like one whose creation was interrupted.
    if (segments.size === 0) await this.#write(Segments.fileName(1), async () => undefined)
  }

  finish(directoryId: string): BackupSummary {
    this.#fs.syncDirectory(this.#to)
    writeFormat(this.#fs, this.#to, { id: directoryId, journal: [] })
    return { directory: this.#to, bytes: this.#bytes }
  }

  async #copy(name: string, bytes: number | null): Promise<void> {
    const from = this.#fs.open(join(this.#from, name), 'r')
    try {
      const end = bytes ?? this.#fs.size(from)
      await this.#write(name, async (to) => {
        for (let at = 0; at < end; ) {
          const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, end - at))
          const count = await this.#fs.read(from, chunk, at)
          if (count === 0)
            throw new MillraceError(
              'DATA_DAMAGED',
              `${name} ends at byte ${at} and should have ${end}: the backup is not complete`,
              { file: name },
            )
          await this.#fs.writeAll(to, [chunk.subarray(0, count)], at)
          at += count
        }
        this.#bytes += end
      })
    } finally {
      this.#fs.close(from)
    }
  }

  async #write(name: string, fill: (fd: number) => Promise<void>): Promise<void> {
    const fd = this.#fs.open(join(this.#to, name), 'wx+')
    try {
      await fill(fd)
      this.#fs.syncNow(fd)
    } finally {
      this.#fs.close(fd)
    }
  }
}
