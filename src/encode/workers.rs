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
}
