// The decision log: what happened and why, and who did it where a person did.

import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { Actor, Chapter } from '../types'
import { Loading, Sentence, Time } from './common'

const FIRST = 12

export function actorWord(by: Actor | undefined): string {
  if (!by) return ''
  const who = by.who || by.says
  const says = by.says && by.says !== who ? `, who says ${by.says}` : ''
  return [who ? `by ${who}${says}` : '', by.from ? `from ${by.from}` : ''].filter(Boolean).join(', ')
}

export function Log({ story, name }: { story: Chapter[] | undefined; name: string }): JSX.Element {
  const [all, setAll] = useState(false)
  const latest = [...(story ?? [])].reverse()
  return (
    <section aria-labelledby="log">
      <h2 id="log">What happened, and why</h2>
      {!story && <Loading what="the story" />}
      <ol class="log" reversed>
        {latest.slice(0, all ? undefined : FIRST).map((chapter) => (
          <li key={chapter.number}>
            <p>
              <strong>
                <Sentence text={chapter.what} />
              </strong>{' '}
              <span class="muted">
                <Time at={chapter.at} /> {actorWord(chapter.by)}
              </span>
            </p>
            {chapter.reasons.map((reason) => (
              <p key={reason}>
                <Sentence text={reason} />
              </p>
            ))}
          </li>
        ))}
      </ol>
      {latest.length > FIRST && !all && (
        <button type="button" onClick={() => setAll(true)}>
          Show all {latest.length}
        </button>
      )}
      <p class="muted">
        Every one of these can be computed again: <code>weir replay {name}</code>
      </p>
    </section>
  )
}
