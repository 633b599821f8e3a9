// How has this service evolved?

import type { JSX } from 'preact'
export function Trend({ service }: { service: string }): JSX.Element {
  return <><h1 tabIndex={-1}>How has {service} evolved?</h1></>
}
