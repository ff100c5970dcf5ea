/** A plain client of a Postgres, as people who know nothing of Millrace use it. */
import { loadClient } from '../../src/broker/client-library.ts'

interface PlainClient {
  connect(): Promise<unknown>
  query(text: string, values?: readonly unknown[]): Promise<{ readonly rows: readonly Record<string, unknown>[] }>
  end(): Promise<void>
}

/** Connect, work, and close the connection whatever happens. */
export async function withPlainPostgres<T>(url: string, work: (client: PlainClient) => Promise<T>): Promise<T> {
  const { Client } = await loadClient<{ readonly Client: new (url: string) => PlainClient }>('pg')
  const client = new Client(url)
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}
