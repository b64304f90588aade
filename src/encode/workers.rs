//! Independent pieces of tensor work over all cores: each worker thread computes one piece alone.
//! candle runs most CPU operations on one thread, so whole pieces are what can run side by side.

use candle_core::Device;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `work` on every item, results in the order of `items`; the first error ends the rest.
///
/// # Errors
/// The error of the earliest item that failed.
pub fn map<T: Sync, R: Send, E: Send>(
    device: &Device,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    map_with(device, items, || (), |(), item| work(item))
}

/// As [`map`], with something of its own for every thread, kept from item to item.
///
/// # Errors
/// The error of the earliest item that failed.
pub fn map_with<S, T: Sync, R: Send, E: Send>(
    device: &Device,
    items: &[T],
    own: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let threads = if matches!(device, Device::Cpu) { rayon::current_num_threads().min(items.len()) } else { 1 };
    if threads <= 1 {
        let mut own = own();
        return items.iter().map(|item| work(&mut own, item)).collect();
    }
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<R, E>)>> = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let run = || {
                    let mut own = own();
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(item) = items.get(index) else { return };
                        let result = work(&mut own, item);
                        if result.is_err() {
                            next.store(items.len(), Ordering::Relaxed);
                        }
                        results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, result));
                    }
                };
                // Matrix products inside would spread over rayon's pool; a pool of this thread alone keeps them here.
                match rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build() {
                    Ok(pool) => pool.install(run),
                    Err(_) => run(),
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|&(index, _)| index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// What threads work in, kept from one use to the next.
#[derive(Debug, Default)]
pub struct Own<S>(Mutex<Vec<S>>);

/// `work` on every item, on as many threads as rayon has; each has one of `own` while it works. Items are begun in
/// their order, and nothing may depend on which thread takes which.
pub fn each<S: Default + Send, T: Send>(items: Vec<T>, own: &Own<S>, work: impl Fn(&mut S, T) + Sync) {
    let threads = rayon::current_num_threads().min(items.len());
    let items = Mutex::new(items.into_iter());
    let lock = || own.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let run = || {
        let mut mine = lock().pop().unwrap_or_default();
        loop {
            let item = items.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
            let Some(item) = item else { break };
            work(&mut mine, item);
        }
        lock().push(mine);
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_and_an_error_ends_it() {
        let items: Vec<u32> = (0..100).collect();
        let doubled = map(&Device::Cpu, &items, |&i| Ok::<_, String>(i * 2));
        assert_eq!(doubled, Ok((0..100).map(|i| i * 2).collect()));
        let failed = map(&Device::Cpu, &items, |&i| if i == 40 { Err("forty") } else { Ok(i) });
        assert_eq!(failed, Err("forty"));
    }

    #[test]
    fn each_item_is_taken_once() {
        let mut sums = vec![0; 50];
        let own: Own<usize> = Own::default();
        each(sums.iter_mut().enumerate().collect(), &own, |taken, (place, sum)| {
            *taken += 1;
            *sum += place;
        });
        assert_eq!(sums, (0..50).collect::<Vec<_>>());
        let taken: usize = own.0.into_inner().unwrap_or_default().iter().sum();
        assert_eq!(taken, 50);
    }
}
