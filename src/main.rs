//! The `nearmiss` program: everything is in the library's `cli`.

use std::process::ExitCode;

/// candle allocates every result anew; mimalloc keeps the pages, the system's allocator gives them back and
/// the kernel clears them again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    nearmiss::cli::main()
}
