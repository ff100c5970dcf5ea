/**
 * Bundles a program with webpack: `ENTRY FILE module|commonjs EXTERNAL…`. Prints its errors and warnings as a JSON
 * array.
 */
import { basename, dirname } from 'node:path'
import webpack from 'webpack'

const [entry, file, type, ...external] = process.argv.slice(2)
const isModule = type === 'module'
const compiler = webpack({
  entry,
  mode: 'production',
  target: 'node20',
  output: { path: dirname(file), filename: basename(file), ...(isModule && { module: true, chunkFormat: 'module' }) },
  experiments: { outputModule: isModule },
  externals: Object.fromEntries(external.map((name) => [name, `${isModule ? 'module' : 'commonjs'} ${name}`])),
  optimization: { minimize: false },
})
compiler.run((error, stats) => {
  if (error) throw error
  const { errors = [], warnings = [] } = stats.toJson({ all: false, errors: true, warnings: true })
  console.log(JSON.stringify([...errors, ...warnings].map(({ message }) => message)))
  compiler.close(() => undefined)
})
