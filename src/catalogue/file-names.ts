/** File names for event types and channels. Each has its own, also where upper and lower case are the same file. */
export class FileNames {
  readonly #byName = new Map<string, string>()
  readonly #taken = new Set<string>()

  /** The path of the file. `name` has only letters, digits, `.`, `_`, `$` and `-`. */
  of(folder: string, name: string, ending: string): string {
    const key = `${folder}/${name}.${ending}`
    const known = this.#byName.get(key)
    if (known !== undefined) return known
    const plain = `${folder}/${name.replaceAll('$', '_')}`
    let path = `${plain}.${ending}`
    for (let count = 2; this.#taken.has(path.toLowerCase()); count++) path = `${plain}-${count}.${ending}`
    this.#taken.add(path.toLowerCase())
    this.#byName.set(key, path)
    return path
  }
}
