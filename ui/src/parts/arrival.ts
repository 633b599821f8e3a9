// Where focus goes when a page comes: to its heading, also where that is drawn anew because what it is about had to be read first.

const HEADING = 'main h1'
let waiting = false

/** A new page was gone to. */
export function goneTo(): void {
  waiting = true
  arrived()
  // Whoever does something meanwhile is where they want to be.
  for (const event of ['keydown', 'pointerdown'])
    addEventListener(
      event,
      () => {
        waiting = false
      },
      { once: true },
    )
}

/** A page's heading was drawn. */
export function arrived(): void {
  if (waiting) document.querySelector<HTMLElement>(HEADING)?.focus()
}
