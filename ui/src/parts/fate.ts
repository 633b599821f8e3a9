// What became of a version, in words.

import type { PastVersion } from '../trendtypes'

export const fateWord = (fate: PastVersion['fate']): string =>
  ({
    promoted: 'promoted',
    rolledBack: 'rolled back',
    notPromoted: 'not promoted',
    kept: 'kept',
    replaced: 'replaced',
  })[fate]
