//! Many runs on every core. What comes out depends on the runs alone, never on how many cores there are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// How many runs go on at once, where each takes so much memory, of so much that there is: as many as there are cores, at least one.
#[must_use]
pub fn at_once(each: u64, all: u64) -> usize {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cores.min(usize::try_from(all / each.max(1)).unwrap_or(cores)).max(1)
}

/// Calls `run` for 0 to `runs` − 1 on every core and returns what it answered, in order. `progress` hears now and then how many are
/// done.
pub fn map<T: Send>(runs: u64, progress: &(dyn Fn(u64) + Sync), run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    map_on(at_once(1, u64::MAX), runs, progress, run)
}

/// The same, so many at once.
pub fn map_on<T: Send>(
    at_once: usize,
    runs: u64,
    progress: &(dyn Fn(u64) + Sync),
    run: impl Fn(u64) -> T + Sync,
) -> Vec<T> {
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut found: Vec<(u64, T)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once)
            .map(|_| {
                scope.spawn(|| {
                    let mut found = Vec::new();
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        if at >= runs {
                            return found;
                        }
                        found.push((at, run(at)));
                        progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                    }
                })
            })
            .collect();
        // A worker that panicked has lost runs, and a result without them would be a lie.
        let join = |worker: thread::ScopedJoinHandle<'_, Vec<(u64, T)>>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().flat_map(join).collect()
    });
    found.sort_unstable_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, found)| found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_runs() {
        assert_eq!(map_on(3, 1_000, &|_| {}, |run| run * run), (0..1_000).map(|run| run * run).collect::<Vec<_>>());
    }

    #[test]
    fn what_needs_much_memory_runs_on_fewer_cores() {
        assert_eq!(at_once(10, 10), 1);
        assert_eq!(at_once(100, 10), 1, "at least one");
        assert_eq!(at_once(1, u64::MAX), thread::available_parallelism().map_or(1, std::num::NonZero::get));
    }
}
