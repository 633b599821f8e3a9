// Applies a document so that nothing that somebody else did meanwhile is overwritten, and nothing is done but what was shown.

import { ApiError, asApiError, paths, readTagged, send } from '../api'
import type { How } from '../api'
import type { Applied, Experiment } from '../types'

/** What somebody changes: as they read it. */
export interface Seen {
  id: string
  document: string
  tag: string
}

/** Attempts while weights move on, and nothing else does. */
const ATTEMPTS = 4

export async function see(name: string): Promise<Seen> {
  const { value, tag } = await readTagged<Experiment>(paths.experiment(name))
  return { id: value.id, document: value.document ?? '', tag }
}

export const dryRun = async (document: string, signal?: AbortSignal): Promise<Applied[]> =>
  (await send<Answer>('POST', `${paths.experiments}?dryRun=true`, document, signal ? { signal } : {})).experiments

interface Answer {
  experiments: Applied[]
}

/**
 * What applies a document of which `shown` was shown and, of each experiment that it changes, `seen` was seen.
 *
 * An experiment's tag changes also when a decision moves its weights. So a tag that is no longer the same is no refusal yet: it is one if
 * somebody changed the document, or if what is shown would no longer be what is done. The API takes a condition with one document; of several
 * it is looked before, and between the look and the write is a moment.
 */
export function applying(
  document: string,
  shown: Applied[],
  seen: ReadonlyMap<string, Seen>,
): (key: string) => Promise<Applied[]> {
  const alone = shown.length === 1
  const created = alone && shown[0]?.result === 'created'
  const post = async (how: How): Promise<Applied[]> =>
    (await send<Answer>('POST', paths.experiments, document, how)).experiments
  const asShown = async (): Promise<string> => {
    let tag = ''
    for (const { name, result } of shown) {
      const before = seen.get(name)
      if (result === 'created' || !before) continue
      const now = await see(name)
      if (now.id !== before.id || now.document !== before.document)
        throw new ApiError(
          412,
          `Somebody changed ${name} after you read it.`,
          [],
          'Keep a copy of what you wrote, read the document anew, and change that.',
        )
      tag = now.tag
    }
    if (JSON.stringify(await dryRun(document)) !== JSON.stringify(shown))
      throw new ApiError(412, 'What would be done is no longer what is shown here.', [], 'Close this, and apply anew.')
    return tag
  }
  let lost: How | null = null
  let sent = 0
  return async (key) => {
    if (created) return post({ key, ifNone: true })
    for (let attempt = 1; ; attempt += 1) {
      // What may have been done is sent again as it was: then it is answered as before.
      const how: How = lost ?? { ...(await condition()), key: `${key}-${(sent += 1)}` }
      try {
        return await post(how)
      } catch (failure) {
        const told = asApiError(failure)
        if (told.unknown) lost = how
        else if (!told.unseen) lost = null
        if (told.status !== 412 || attempt >= ATTEMPTS) throw told
      }
    }
  }
  async function condition(): Promise<How> {
    const tag = await asShown()
    return alone && tag ? { ifMatch: tag } : {}
  }
}
