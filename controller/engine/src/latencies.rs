//! A version's latencies over many cells, kept ascending while cells are added. Owns no rule: it counts and finds ranks.

use crate::cells::{Cell, Span};

/// A chunk with more spans than this is divided: adding a span moves no more than these, and finding a rank skips whole chunks.
const MOST_IN_CHUNK: usize = 512;

/// Spans in ascending order of their places, each place once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies {
    /// Never empty ones.
    chunks: Vec<Chunk>,
}

#[derive(Debug, Clone)]
struct Chunk {
    spans: Vec<Span>,
    /// How many latencies; saturates, as all sums here do.
    count: u64,
}

impl Latencies {
    /// Adds a cell's.
    pub(crate) fn add<C: Cell>(&mut self, cell: &C) {
        cell.latencies().for_each(|span| self.add_span(span));
    }

    fn add_span(&mut self, span: Span) {
        // The first chunk that ends at the place or beyond it, else the last.
        let beyond =
            self.chunks.partition_point(|chunk| chunk.spans.last().is_some_and(|last| last.place() < span.place()));
        let at = beyond.min(self.chunks.len().saturating_sub(1));
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push(Chunk { spans: vec![span], count: span.count });
            return;
        };
        chunk.count = chunk.count.saturating_add(span.count);
        match chunk.spans.binary_search_by_key(&span.place(), Span::place) {
            Ok(found) => {
                if let Some(known) = chunk.spans.get_mut(found) {
                    known.count = known.count.saturating_add(span.count);
                }
            }
            Err(place) => chunk.spans.insert(place, span),
        }
        if chunk.spans.len() > MOST_IN_CHUNK {
            let upper = chunk.spans.split_off(MOST_IN_CHUNK / 2);
            chunk.count = total(&chunk.spans);
            let upper = Chunk { count: total(&upper), spans: upper };
            self.chunks.insert(at + 1, upper);
        }
    }

    /// How many.
    pub(crate) fn count(&self) -> u64 {
        self.chunks.iter().fold(0, |sum, chunk| chunk.count.saturating_add(sum))
    }

    /// The lowest span up to which there are `rank` latencies or more.
    pub(crate) fn at_rank(&self, rank: f64) -> Option<&Span> {
        let mut below = 0_u64;
        #[expect(clippy::cast_precision_loss, reason = "a rank")]
        let reaches = |count: u64| count as f64 >= rank;
        for chunk in &self.chunks {
            let through = below.saturating_add(chunk.count);
            if !reaches(through) {
                below = through;
                continue;
            }
            return chunk.spans.iter().find(|span| {
                below = below.saturating_add(span.count);
                reaches(below)
            });
        }
        None
    }

    /// All spans, ascending.
    pub(crate) fn spans(&self) -> impl Iterator<Item = Span> {
        self.chunks.iter().flat_map(|chunk| &chunk.spans).copied()
    }
}

fn total(spans: &[Span]) -> u64 {
    spans.iter().fold(0, |sum, span| span.count.saturating_add(sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::Edge;
    use std::collections::BTreeMap;

    #[test]
    fn whatever_the_order_spans_ascend_and_ranks_are_those_of_a_sorted_list() {
        let mut latencies = Latencies::default();
        let mut sorted: BTreeMap<(u64, u64, Edge), u64> = BTreeMap::new();
        assert_eq!((latencies.count(), latencies.at_rank(1.0)), (0, None));
        let mut seed = 7_u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (lower, count) = ((seed >> 33) % 5_000, (seed >> 20) % 4);
            let holds = if seed >> 63 == 1 { Edge::Upper } else { Edge::Lower };
            let span = Span { lower, upper: lower + 1, holds, count };
            latencies.add_span(span);
            *sorted.entry(span.place()).or_default() += count;
        }
        let found: Vec<_> = latencies.spans().map(|span| (span.place(), span.count)).collect();
        assert_eq!(found, sorted.clone().into_iter().collect::<Vec<_>>());
        assert!(latencies.chunks.len() > 10 && latencies.chunks.iter().all(|chunk| chunk.count == total(&chunk.spans)));
        let count: u64 = sorted.values().sum();
        assert_eq!(latencies.count(), count);
        for part in 0..=100_u32 {
            let rank = f64::from(part) / 100.0 * count as f64;
            let mut below = 0;
            let wanted = sorted.iter().find(|(_, count)| {
                below += **count;
                below as f64 >= rank
            });
            assert_eq!(latencies.at_rank(rank).map(Span::place), wanted.map(|(place, _)| *place), "{part}%");
        }
        assert_eq!(latencies.at_rank(count as f64 + 1.0), None);
    }
}
